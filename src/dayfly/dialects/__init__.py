"""Foreign wire protocols as thin translations to actions: one package a system. Dialects never import each other."""
