"""Language models and what surrounds them: student, tokenizer, teachers, logit store, grammars, parity."""
