"""The producer: the Lambda function that forwards a table's stream into the queue."""
