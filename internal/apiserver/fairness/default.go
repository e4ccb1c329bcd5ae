package fairness

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// AutoUpdate is the annotation that leaves an object's spec to the server.
const AutoUpdate = flowcontrolv1.AutoUpdateAnnotationKey

// Names of the mandatory objects, which always exist.
const (
	Exempt   = flowcontrolv1.PriorityLevelConfigurationNameExempt
	CatchAll = flowcontrolv1.PriorityLevelConfigurationNameCatchAll
)

// DefaultLevels returns the priority levels that every cluster of v1.36 has.
func DefaultLevels() []*flowcontrolv1.PriorityLevelConfiguration {
	limited := func(name string, shares, lendable, queues, hand int32) *flowcontrolv1.PriorityLevelConfiguration {
		response := flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject}
		if queues > 0 {
			response = flowcontrolv1.LimitResponse{
				Type:    flowcontrolv1.LimitResponseTypeQueue,
				Queuing: &flowcontrolv1.QueuingConfiguration{Queues: queues, HandSize: hand, QueueLengthLimit: 50},
			}
		}
		return priority(name, flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: &shares, LendablePercent: &lendable, LimitResponse: response,
			},
		})
	}
	return []*flowcontrolv1.PriorityLevelConfiguration{
		priority(Exempt, flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementExempt,
			Exempt: &flowcontrolv1.ExemptPriorityLevelConfiguration{
				NominalConcurrencyShares: ptr.To[int32](0), LendablePercent: ptr.To[int32](0),
			},
		}),
		limited(CatchAll, 5, 0, 0, 0),
		limited("system", 30, 33, 64, 6),
		limited("node-high", 40, 25, 64, 6),
		limited("leader-election", 10, 0, 16, 4),
		limited("workload-high", 40, 50, 128, 6),
		limited("workload-low", 100, 90, 128, 6),
		limited("global-default", 20, 50, 128, 6),
	}
}

// DefaultSchemas returns the flow schemas that every cluster of v1.36 has.
func DefaultSchemas() []*flowcontrolv1.FlowSchema {
	const byUser, byNamespace = flowcontrolv1.FlowDistinguisherMethodByUserType, flowcontrolv1.FlowDistinguisherMethodByNamespaceType
	everything := flowcontrolv1.PolicyRulesWithSubjects{
		ResourceRules:    []flowcontrolv1.ResourcePolicyRule{resources([]string{"*"}, []string{"*"}, true, "*")},
		NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}},
	}
	from := func(rule flowcontrolv1.PolicyRulesWithSubjects, subjects ...flowcontrolv1.Subject) flowcontrolv1.PolicyRulesWithSubjects {
		rule.Subjects = subjects
		return rule
	}
	everybody := []flowcontrolv1.Subject{group("system:unauthenticated"), group("system:authenticated")}
	leases := []string{"coordination.k8s.io"}
	return []*flowcontrolv1.FlowSchema{
		flowSchema(Exempt, Exempt, 1, "", from(everything, group("system:masters"))),
		flowSchema("probes", Exempt, 2, "", from(flowcontrolv1.PolicyRulesWithSubjects{
			NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{
				Verbs: []string{"get"}, NonResourceURLs: []string{"/healthz", "/readyz", "/livez"},
			}},
		}, everybody...)),
		flowSchema("system-leader-election", "leader-election", 100, byUser, from(flowcontrolv1.PolicyRulesWithSubjects{
			ResourceRules: []flowcontrolv1.ResourcePolicyRule{resources([]string{"get", "create", "update"}, leases, false, "leases")},
		}, named("system:kube-controller-manager"), named("system:kube-scheduler"), account(metav1.NamespaceSystem, "*"))),
		flowSchema("system-node-high", "node-high", 400, byUser, from(flowcontrolv1.PolicyRulesWithSubjects{
			ResourceRules: []flowcontrolv1.ResourcePolicyRule{
				resources([]string{"*"}, []string{""}, true, "nodes", "nodes/status"),
				resources([]string{"*"}, leases, false, "leases"),
			},
		}, group("system:nodes"))),
		flowSchema("system-nodes", "system", 500, byUser, from(everything, group("system:nodes"))),
		flowSchema("kube-controller-manager", "workload-high", 800, byNamespace, from(everything, named("system:kube-controller-manager"))),
		flowSchema("kube-scheduler", "workload-high", 800, byNamespace, from(everything, named("system:kube-scheduler"))),
		flowSchema("kube-system-service-accounts", "workload-high", 900, byNamespace, from(everything, account(metav1.NamespaceSystem, "*"))),
		flowSchema("service-accounts", "workload-low", 9000, byUser, from(everything, group("system:serviceaccounts"))),
		flowSchema("global-default", "global-default", 9900, byUser, from(everything, everybody...)),
		flowSchema(CatchAll, CatchAll, 10000, byUser, from(everything, everybody...)),
	}
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Annotations: map[string]string{AutoUpdate: "true"}}
}

func priority(name string, spec flowcontrolv1.PriorityLevelConfigurationSpec) *flowcontrolv1.PriorityLevelConfiguration {
	return &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: meta(name), Spec: spec}
}

func flowSchema(name, level string, precedence int32, by flowcontrolv1.FlowDistinguisherMethodType, rule flowcontrolv1.PolicyRulesWithSubjects) *flowcontrolv1.FlowSchema {
	f := &flowcontrolv1.FlowSchema{ObjectMeta: meta(name), Spec: flowcontrolv1.FlowSchemaSpec{
		PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: level},
		MatchingPrecedence:         precedence,
		Rules:                      []flowcontrolv1.PolicyRulesWithSubjects{rule},
	}}
	if by != "" {
		f.Spec.DistinguisherMethod = &flowcontrolv1.FlowDistinguisherMethod{Type: by}
	}
	return f
}

func resources(verbs, groups []string, clusterScope bool, names ...string) flowcontrolv1.ResourcePolicyRule {
	return flowcontrolv1.ResourcePolicyRule{
		Verbs: verbs, APIGroups: groups, Resources: names, ClusterScope: clusterScope, Namespaces: []string{flowcontrolv1.NamespaceEvery},
	}
}

func group(name string) flowcontrolv1.Subject {
	return flowcontrolv1.Subject{Kind: flowcontrolv1.SubjectKindGroup, Group: &flowcontrolv1.GroupSubject{Name: name}}
}

func named(name string) flowcontrolv1.Subject {
	return flowcontrolv1.Subject{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: name}}
}

func account(namespace, name string) flowcontrolv1.Subject {
	return flowcontrolv1.Subject{
		Kind: flowcontrolv1.SubjectKindServiceAccount, ServiceAccount: &flowcontrolv1.ServiceAccountSubject{Namespace: namespace, Name: name},
	}
}
