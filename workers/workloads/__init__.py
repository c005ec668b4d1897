"""The networks that come with evodevo: model and training, a file each."""
