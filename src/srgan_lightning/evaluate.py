"""`python -m srgan_lightning.evaluate`: evaluate generators and bicubic interpolation on sets of images."""

from omegaconf import DictConfig

from srgan_lightning.cli.hydra_command import entry_point


@entry_point("evaluate")
def main(cfg: DictConfig) -> None:
    from srgan_lightning.inference.scoring import evaluate  # imported here, so that --help does not wait for torch

    evaluate(cfg)


if __name__ == "__main__":
    main()
