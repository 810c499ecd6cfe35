"""The test node: the kubelet of many pods, the metrics APIs, and a control endpoint, in one process."""
