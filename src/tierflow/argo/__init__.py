"""tierflow on Kubernetes: workflow templates for Argo, rendered from the step table; their checks."""
