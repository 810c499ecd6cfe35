// Everything that reads objects of Kubernetes reads JSON.
@_exported public import JSON
