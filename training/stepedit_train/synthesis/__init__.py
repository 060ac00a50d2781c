"""The synthesise stage: more speech for training, spoken by free text-to-speech systems."""
