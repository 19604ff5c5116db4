"""`python -m srgan_lightning.make_shards`: write a folder or CelebA as shards for `data=streaming`."""

from hydra.utils import instantiate
from omegaconf import DictConfig

from srgan_lightning.cli.hydra_command import entry_point
from srgan_lightning.utils.errors import UserError


def make_shards(cfg: DictConfig) -> dict[str, int]:
    """Write shards as a composed configuration says; keep splits that an earlier, killed run has finished.

    Args:
        cfg: the configuration of `conf/make_shards.yaml` with its groups.

    Returns:
        The number of images of each split.

    Raises:
        UserError: the data cannot be read, a folder holds other data or shards of other options, or the shards of all
            splits exist already.
    """
    from srgan_lightning.data.sharding import finished_shards, write_shards  # needs the extra `streaming`

    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    data.prepare_data()
    jobs = {}
    for split in cfg.splits:
        jobs[split] = (
            data.source(split),
            f"{cfg.output}/{split}",
            cfg.shard_size,
            cfg.seed if split == "train" else None,
        )
    finished = {split: finished_shards(*job) for split, job in jobs.items()}
    if None not in finished.values():
        raise UserError(f"output: {cfg.output} exists already, with all of {', '.join(jobs)}. Give a new folder.")
    counts: dict[str, int] = {}
    for split, job in jobs.items():
        counts[split] = finished[split] or write_shards(*job, data.workers, data.on_error)
        print(f"{job[1]}: {counts[split]} images{' from an earlier run' if finished[split] else ''}", flush=True)
    return counts


@entry_point("make_shards")
def main(cfg: DictConfig) -> None:
    make_shards(cfg)


if __name__ == "__main__":
    main()
