"""The stage that writes a student as programs: ExportedProgram, ONNX and Hugging Face format."""
