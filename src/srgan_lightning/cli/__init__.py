"""How commands read their options and report mistakes; Hydra composes the configurations of conf/."""
