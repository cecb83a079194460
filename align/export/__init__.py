"""Turn a trained model into what others load: whole safetensors, quantised forms, a card, a repository on the hub."""
