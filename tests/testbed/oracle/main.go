// What an implementation of NetworkPolicy that is not ours says: cyclonus, by the people who test network plug-ins with it.
//
// One JSON document a line comes in on stdin, one answer a line goes out. It is made of whole clusters of policies, and
// of connections for which both ends are described.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	v1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// peer is a pod, or with an address alone something outside of the cluster.
type peer struct {
	Namespace       string            `json:"namespace"`
	NamespaceLabels map[string]string `json:"namespace_labels"`
	Labels          map[string]string `json:"labels"`
	Address         string            `json:"address"`
}

type connection struct {
	Source      peer   `json:"source"`
	Destination peer   `json:"destination"`
	Port        int    `json:"port"`
	PortName    string `json:"port_name"` // what the destination calls it
	Protocol    string `json:"protocol"`
}

type question struct {
	Policies    []*networkingv1.NetworkPolicy `json:"policies"`
	Connections []connection                  `json:"connections"`
}

// verdict says for one connection whether the destination lets it in and the source lets it out.
type verdict struct {
	Ingress bool `json:"ingress"`
	Egress  bool `json:"egress"`
}

type answer struct {
	Verdicts []verdict `json:"verdicts"`
	Raw      []verdict `json:"raw"` // by cyclonus alone, with its own reading of selectors
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			log.Fatal(err)
		}
		for _, policy := range asked.Policies {
			defaulted(policy)
		}
		var said answer
		said.Raw = verdicts(asked.Policies, asked.Connections)
		found := marked(asked.Policies)
		said.Verdicts = verdicts(asked.Policies, found.relabelled(asked.Connections))
		if err := out.Encode(said); err != nil {
			log.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

// defaulted does what the API server does before it stores a policy (kubernetes/api networking/v1 types.go, PolicyTypes).
func defaulted(policy *networkingv1.NetworkPolicy) {
	if len(policy.Spec.PolicyTypes) > 0 {
		return
	}
	policy.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
	if len(policy.Spec.Egress) > 0 {
		policy.Spec.PolicyTypes = append(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	}
}

func verdicts(policies []*networkingv1.NetworkPolicy, connections []connection) []verdict {
	whole := matcher.BuildNetworkPolicies(false, policies)
	found := make([]verdict, 0, len(connections))
	for _, one := range connections {
		allowed := whole.IsTrafficAllowed(&matcher.Traffic{
			Source:           one.Source.traffic(),
			Destination:      one.Destination.traffic(),
			ResolvedPort:     one.Port,
			ResolvedPortName: one.PortName,
			Protocol:         v1.Protocol(one.Protocol),
		})
		found = append(found, verdict{Ingress: allowed.Ingress.IsAllowed(), Egress: allowed.Egress.IsAllowed()})
	}
	return found
}

func (p peer) traffic() *matcher.TrafficPeer {
	found := &matcher.TrafficPeer{IP: p.Address}
	if p.Namespace != "" {
		found.Internal = &matcher.InternalPeer{
			Namespace: p.Namespace, NamespaceLabels: p.NamespaceLabels, PodLabels: p.Labels,
		}
	}
	return found
}

// marks are the selectors that cyclonus 0.5.6 reads otherwise than Kubernetes (pkg/kube/labelselector.go there; apimachinery,
// labels.Requirement.Matches): NotIn, which in Kubernetes also selects what lacks the key, and a label that has to be
// empty, which in Kubernetes does not select what lacks it. Kubernetes' own library judges those, and each becomes a
// label for cyclonus to ask for.
type marks map[string]labels.Selector

func marked(policies []*networkingv1.NetworkPolicy) marks {
	found := marks{}
	for _, policy := range policies {
		found.take(&policy.Spec.PodSelector)
		for _, rule := range policy.Spec.Ingress {
			found.takePeers(rule.From)
		}
		for _, rule := range policy.Spec.Egress {
			found.takePeers(rule.To)
		}
	}
	return found
}

func (m marks) takePeers(peers []networkingv1.NetworkPolicyPeer) {
	for _, one := range peers {
		m.take(one.PodSelector)
		m.take(one.NamespaceSelector)
	}
}

func (m marks) take(selector *metav1.LabelSelector) {
	if selector == nil {
		return
	}
	if !misread(selector) {
		return
	}
	real, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		log.Fatal(err)
	}
	key := fmt.Sprintf("selected-%d", len(m))
	m[key] = real
	*selector = metav1.LabelSelector{MatchLabels: map[string]string{key: "yes"}}
}

func misread(selector *metav1.LabelSelector) bool {
	for _, value := range selector.MatchLabels {
		if value == "" {
			return true
		}
	}
	for _, expression := range selector.MatchExpressions {
		if expression.Operator == metav1.LabelSelectorOpNotIn {
			return true
		}
	}
	return false
}

func (m marks) relabelled(connections []connection) []connection {
	found := make([]connection, 0, len(connections))
	for _, one := range connections {
		one.Source, one.Destination = m.with(one.Source), m.with(one.Destination)
		found = append(found, one)
	}
	return found
}

func (m marks) with(one peer) peer {
	one.Labels, one.NamespaceLabels = m.added(one.Labels), m.added(one.NamespaceLabels)
	return one
}

func (m marks) added(had map[string]string) map[string]string {
	all := map[string]string{}
	for key, value := range had {
		all[key] = value
	}
	for key, selector := range m {
		if selector.Matches(labels.Set(had)) {
			all[key] = "yes"
		}
	}
	return all
}
