"""What users say, over a connection or over what came from one."""
