"""What runs inside a sandbox, per language. Nothing of Dayfly is imported here, and nothing here by Dayfly: it is shipped as files."""
