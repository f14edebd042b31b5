"""Export: a trained model as one folder that other programs can run, verified before it is used."""
