module crds

go 1.26.0

require (
	github.com/kedacore/keda/v2 v2.21.0
	github.com/kyverno/kyverno v1.19.1
	github.com/openreports/reports-api v0.2.1
	github.com/cilium/cilium v1.18.2
	sigs.k8s.io/network-policy-api v0.2.0
)
