"""`python -m srgan_lightning.make_shards`: write a folder or CelebA as shards for `data=streaming`."""

from hydra.utils import instantiate
from omegaconf import DictConfig

from srgan_lightning.cli import entry_point


def make_shards(cfg: DictConfig) -> dict[str, int]:
    """Write shards by a composed configuration.

    Args:
        cfg: `conf/make_shards.yaml` with its groups.

    Returns:
        How many images each split holds.

    Raises:
        UserError: the data cannot be read, or shards are there already.
    """
    from srgan_lightning.data.sharding import write_shards  # needs the extra `streaming`

    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    data.prepare_data()
    counts: dict[str, int] = {}
    for split in cfg.splits:
        folder = f"{cfg.output}/{split}"
        order_seed = cfg.seed if split == "train" else None
        counts[split] = write_shards(
            data.source(split), folder, cfg.shard_size, order_seed, data.workers, data.on_error
        )
        print(f"{folder}: {counts[split]} images", flush=True)
    return counts


@entry_point("make_shards")
def main(cfg: DictConfig) -> None:
    make_shards(cfg)


if __name__ == "__main__":
    main()
