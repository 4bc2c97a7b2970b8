"""Exchanges of Bedrock's agents, with the steps that they tell, and of its knowledge bases."""
