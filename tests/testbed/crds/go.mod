module crds

go 1.26.0

require (
	github.com/cilium/cilium v1.18.2
	sigs.k8s.io/network-policy-api v0.2.0
)
