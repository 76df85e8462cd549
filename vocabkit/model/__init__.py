"""Run a model: the only room below the stages that needs torch and transformers, imported when first used."""
