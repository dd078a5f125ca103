print("no extractor")
