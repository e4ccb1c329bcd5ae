package scheduler

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// filterCase is a pod and a node with pods on it; want are all the reasons why
// the pod does not fit, with the names of the plugins.
type filterCase struct {
	name string
	pod  *v1.Pod
	node *v1.Node
	on   []*v1.Pod
	want []PluginReason
}

func runFilters(t *testing.T, cases []filterCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, _ := quick(t, newAPI())
			s.onNode(c.node)
			for _, p := range c.on {
				p.Spec.NodeName = c.node.Name
				s.onPod(p)
			}
			got := s.Explain(c.pod)
			if len(got) != 1 || got[0].Node != c.node.Name {
				t.Fatalf("Explain: %v", got)
			}
			if diff := cmp.Diff(c.want, got[0].Reasons); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func because(plugin string, reasons ...string) (out []PluginReason) {
	for _, r := range reasons {
		out = append(out, PluginReason{plugin, r})
	}
	return out
}

func TestNodeUnschedulable(t *testing.T) {
	runFilters(t, []filterCase{
		{"schedulable", newPod("p"), newNode("n"), nil, nil},
		{"cordoned", newPod("p"), newNode("n", cordoned), nil, because("NodeUnschedulable", "node(s) were unschedulable")},
		{"tolerated", newPod("p", tolerating(v1.Toleration{Key: v1.TaintNodeUnschedulable, Operator: v1.TolerationOpExists})), newNode("n", cordoned), nil, nil},
		{"everything tolerated", newPod("p", tolerating(v1.Toleration{Operator: v1.TolerationOpExists})), newNode("n", cordoned), nil, nil},
		{"the wrong effect tolerated", newPod("p", tolerating(v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute})), newNode("n", cordoned), nil,
			because("NodeUnschedulable", "node(s) were unschedulable")},
	})
}

func TestNodeName(t *testing.T) {
	runFilters(t, []filterCase{
		{"named", newPod("p", onNodeNamed("n")), newNode("n"), nil, nil},
		{"another", newPod("p", onNodeNamed("m")), newNode("n"), nil, because("NodeName", "node(s) didn't match the requested node name")},
	})
}

func TestTaintToleration(t *testing.T) {
	no := because("TaintToleration", "node(s) had untolerated taint(s)")
	runFilters(t, []filterCase{
		{"NoSchedule", newPod("p"), newNode("n", taint("dedicated", "gpu", v1.TaintEffectNoSchedule)), nil, no},
		{"NoExecute without a value", newPod("p"), newNode("n", taint("gone", "", v1.TaintEffectNoExecute)), nil, no},
		{"PreferNoSchedule", newPod("p"), newNode("n", taint("dedicated", "gpu", v1.TaintEffectPreferNoSchedule)), nil, nil},
		{"the first of two", newPod("p", tolerating(v1.Toleration{Key: "a", Operator: v1.TolerationOpExists})),
			newNode("n", taint("a", "", v1.TaintEffectNoSchedule), taint("b", "1", v1.TaintEffectNoSchedule)), nil, no},
		{"Equal", newPod("p", tolerating(v1.Toleration{Key: "dedicated", Operator: v1.TolerationOpEqual, Value: "gpu", Effect: v1.TaintEffectNoSchedule})),
			newNode("n", taint("dedicated", "gpu", v1.TaintEffectNoSchedule)), nil, nil},
		{"another value", newPod("p", tolerating(v1.Toleration{Key: "dedicated", Value: "cpu", Effect: v1.TaintEffectNoSchedule})),
			newNode("n", taint("dedicated", "gpu", v1.TaintEffectNoSchedule)), nil, no},
		{"another effect", newPod("p", tolerating(v1.Toleration{Key: "dedicated", Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute})),
			newNode("n", taint("dedicated", "gpu", v1.TaintEffectNoSchedule)), nil, no},
		{"Gt", newPod("p", tolerating(v1.Toleration{Key: "sla", Operator: v1.TolerationOpGt, Value: "90", Effect: v1.TaintEffectNoSchedule})),
			newNode("n", taint("sla", "95", v1.TaintEffectNoSchedule)), nil, nil},
	})
}

func requiredNodes(r ...v1.NodeSelectorRequirement) podOption {
	return affinityOf(v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
		NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: r}},
	}}})
}

func TestNodeAffinity(t *testing.T) {
	no := because("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
	zone := func(op v1.NodeSelectorOperator, values ...string) podOption {
		return requiredNodes(v1.NodeSelectorRequirement{Key: "zone", Operator: op, Values: values})
	}
	a := newNode("n", nodeLabel("zone", "a"), nodeLabel("cores", "8"))
	runFilters(t, []filterCase{
		{"selector", newPod("p", selecting("zone", "a")), a, nil, nil},
		{"another value", newPod("p", selecting("zone", "b")), a, nil, no},
		{"no such label", newPod("p", selecting("disk", "ssd")), a, nil, no},
		{"In", newPod("p", zone(v1.NodeSelectorOpIn, "a", "b")), a, nil, nil},
		{"not In", newPod("p", zone(v1.NodeSelectorOpIn, "b")), a, nil, no},
		{"NotIn", newPod("p", zone(v1.NodeSelectorOpNotIn, "b")), a, nil, nil},
		{"Exists", newPod("p", zone(v1.NodeSelectorOpExists)), a, nil, nil},
		{"DoesNotExist", newPod("p", zone(v1.NodeSelectorOpDoesNotExist)), a, nil, no},
		{"Gt", newPod("p", requiredNodes(v1.NodeSelectorRequirement{Key: "cores", Operator: v1.NodeSelectorOpGt, Values: []string{"4"}})), a, nil, nil},
		{"Lt", newPod("p", requiredNodes(v1.NodeSelectorRequirement{Key: "cores", Operator: v1.NodeSelectorOpLt, Values: []string{"4"}})), a, nil, no},
		{"both", newPod("p", zone(v1.NodeSelectorOpIn, "a"), selecting("zone", "b")), a, nil, no},
		{"no term matches nothing", newPod("p", affinityOf(v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{}}})), a, nil, no},
		{"a field", newPod("p", affinityOf(v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
			NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchFields: []v1.NodeSelectorRequirement{{Key: "metadata.name", Operator: v1.NodeSelectorOpIn, Values: []string{"m"}}}}},
		}}})), a, nil, because("NodeAffinity", "node(s) didn't satisfy plugin(s) [NodeAffinity]")},
		{"its own name", newPod("p", affinityOf(v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
			NodeSelectorTerms: []v1.NodeSelectorTerm{
				{MatchFields: []v1.NodeSelectorRequirement{{Key: "metadata.name", Operator: v1.NodeSelectorOpIn, Values: []string{"m"}}}},
				{MatchFields: []v1.NodeSelectorRequirement{{Key: "metadata.name", Operator: v1.NodeSelectorOpIn, Values: []string{"n"}}}},
			},
		}}})), a, nil, nil},
		{"a name or a label", newPod("p", affinityOf(v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
			NodeSelectorTerms: []v1.NodeSelectorTerm{
				{MatchFields: []v1.NodeSelectorRequirement{{Key: "metadata.name", Operator: v1.NodeSelectorOpIn, Values: []string{"m"}}}},
				{MatchExpressions: []v1.NodeSelectorRequirement{{Key: "zone", Operator: v1.NodeSelectorOpIn, Values: []string{"b"}}}},
			},
		}}})), a, nil, no},
		{"what cannot be parsed", newPod("p", zone("Like", "a")), a, nil, no},
	})
}

func TestNodePorts(t *testing.T) {
	no := because("NodePorts", "node(s) didn't have free ports for the requested pod ports")
	taken := func() []*v1.Pod { return []*v1.Pod{newPod("q", hostPortOf("10.0.0.1", 80, v1.ProtocolTCP))} }
	runFilters(t, []filterCase{
		{"free", newPod("p", hostPortOf("", 81, v1.ProtocolTCP)), newNode("n"), taken(), nil},
		{"taken", newPod("p", hostPortOf("10.0.0.1", 80, v1.ProtocolTCP)), newNode("n"), taken(), no},
		{"of all addresses", newPod("p", hostPortOf("", 80, "")), newNode("n"), taken(), no},
		{"of another address", newPod("p", hostPortOf("10.0.0.2", 80, v1.ProtocolTCP)), newNode("n"), taken(), nil},
		{"of another protocol", newPod("p", hostPortOf("", 80, v1.ProtocolUDP)), newNode("n"), taken(), nil},
		{"all addresses taken", newPod("p", hostPortOf("10.0.0.2", 80, v1.ProtocolTCP)), newNode("n"), []*v1.Pod{newPod("q", hostPortOf("0.0.0.0", 80, v1.ProtocolTCP))}, no},
		{"by one that has ended", newPod("p", hostPortOf("", 80, v1.ProtocolTCP)), newNode("n"),
			[]*v1.Pod{newPod("q", hostPortOf("", 80, v1.ProtocolTCP), func(p *v1.Pod) { p.Status.Phase = v1.PodSucceeded })}, nil},
	})
}

func TestNodeResourcesFit(t *testing.T) {
	lack := func(reasons ...string) []PluginReason { return because("NodeResourcesFit", reasons...) }
	gpu := v1.ResourceName("example.com/gpu")
	always := v1.ContainerRestartPolicyAlways
	initialised := func(cpu string, restart *v1.ContainerRestartPolicy) podOption {
		return func(p *v1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, v1.Container{Name: "i", RestartPolicy: restart,
				Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}}})
		}
	}
	runFilters(t, []filterCase{
		{"fits", newPod("p", requests(v1.ResourceCPU, "4"), requests(v1.ResourceMemory, "8Gi")), newNode("n"), nil, nil},
		{"CPU", newPod("p", requests(v1.ResourceCPU, "4001m")), newNode("n"), nil, lack("Insufficient cpu")},
		{"with what is there", newPod("p", requests(v1.ResourceCPU, "3")), newNode("n"), []*v1.Pod{newPod("q", requests(v1.ResourceCPU, "2"))}, lack("Insufficient cpu")},
		{"all", newPod("p", requests(v1.ResourceCPU, "5"), requests(v1.ResourceMemory, "9Gi"), requests(v1.ResourceEphemeralStorage, "1"), requests(gpu, "1")), newNode("n"), nil,
			lack("Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage", "Insufficient example.com/gpu")},
		{"extended", newPod("p", requests(gpu, "2")), newNode("n", allocatable(gpu, "2")), nil, nil},
		{"extended in use", newPod("p", requests(gpu, "1")), newNode("n", allocatable(gpu, "2")), []*v1.Pod{newPod("q", requests(gpu, "2"))}, lack("Insufficient example.com/gpu")},
		{"too many pods", newPod("p"), newNode("n", allocatable(v1.ResourcePods, "1")), []*v1.Pod{newPod("q")}, lack("Too many pods")},
		{"nothing requested on a full node", newPod("p"), newNode("n"), []*v1.Pod{newPod("q", requests(v1.ResourceCPU, "5"))}, nil},
		{"an init container", newPod("p", initialised("5", nil)), newNode("n"), nil, lack("Insufficient cpu")},
		{"init containers do not add up", newPod("p", requests(v1.ResourceCPU, "3"), initialised("3", nil)), newNode("n"), nil, nil},
		{"sidecars do", newPod("p", requests(v1.ResourceCPU, "3"), initialised("3", &always)), newNode("n"), nil, lack("Insufficient cpu")},
		{"overhead", newPod("p", requests(v1.ResourceCPU, "4"), func(p *v1.Pod) { p.Spec.Overhead = v1.ResourceList{v1.ResourceCPU: resource.MustParse("1m")} }), newNode("n"), nil, lack("Insufficient cpu")},
		{"the pod's own resources", newPod("p", func(p *v1.Pod) {
			p.Spec.Resources = &v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("5")}}
		}), newNode("n"), nil, lack("Insufficient cpu")},
	})
}

func podTerm_(key string, options ...func(*v1.PodAffinityTerm)) v1.PodAffinityTerm {
	t := v1.PodAffinityTerm{TopologyKey: key, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}
	for _, o := range options {
		o(&t)
	}
	return t
}

func near(terms ...v1.PodAffinityTerm) podOption {
	return affinityOf(v1.Affinity{PodAffinity: &v1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}})
}

func apart(terms ...v1.PodAffinityTerm) podOption {
	return affinityOf(v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}})
}

func TestInterPodAffinity(t *testing.T) {
	host, zone := v1.LabelHostname, v1.LabelTopologyZone
	web := label("app", "web")
	in := func(namespaces ...string) func(*v1.PodAffinityTerm) {
		return func(t *v1.PodAffinityTerm) { t.Namespaces = namespaces }
	}
	everywhere := func(t *v1.PodAffinityTerm) { t.NamespaceSelector = &metav1.LabelSelector{} }
	no := because("InterPodAffinity", "node(s) didn't match pod affinity rules")
	noAnti := because("InterPodAffinity", "node(s) didn't match pod anti-affinity rules")
	noExisting := because("InterPodAffinity", "node(s) didn't satisfy existing pods anti-affinity rules")
	runFilters(t, []filterCase{
		{"near", newPod("p", near(podTerm_(host))), newNode("n"), []*v1.Pod{newPod("q", web)}, nil},
		{"near what is not there", newPod("p", near(podTerm_(host))), newNode("n"), []*v1.Pod{newPod("q")}, no},
		{"near, without the label", newPod("p", near(podTerm_(zone))), newNode("n"), []*v1.Pod{newPod("q", web)}, no},
		{"the first of those that want each other", newPod("p", web, near(podTerm_(host))), newNode("n"), nil, nil},
		{"but not without the label", newPod("p", web, near(podTerm_(zone))), newNode("n"), nil, no},
		{"apart", newPod("p", apart(podTerm_(host))), newNode("n"), []*v1.Pod{newPod("q", web)}, noAnti},
		{"apart from others", newPod("p", apart(podTerm_(host))), newNode("n"), []*v1.Pod{newPod("q")}, nil},
		{"apart, without the label", newPod("p", apart(podTerm_(zone))), newNode("n"), []*v1.Pod{newPod("q", web)}, nil},
		{"kept off by one that is there", newPod("p", web), newNode("n"), []*v1.Pod{newPod("q", apart(podTerm_(host)))}, noExisting},
		{"not meant by one that is there", newPod("p"), newNode("n"), []*v1.Pod{newPod("q", apart(podTerm_(host)))}, nil},
		{"another namespace", newPod("p", apart(podTerm_(host))), newNode("n"), []*v1.Pod{newPod("q", web, inNamespace("other"))}, nil},
		{"a named namespace", newPod("p", apart(podTerm_(host, in("other")))), newNode("n"), []*v1.Pod{newPod("q", web, inNamespace("other"))}, noAnti},
		{"all namespaces", newPod("p", apart(podTerm_(host, everywhere))), newNode("n"), []*v1.Pod{newPod("q", web, inNamespace("other"))}, noAnti},
		{"all terms must match one pod", newPod("p", near(podTerm_(host), podTerm_(host, func(t *v1.PodAffinityTerm) {
			t.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "front"}}
		}))), newNode("n"), []*v1.Pod{newPod("q", web), newPod("r", label("tier", "front"))}, no},
	})
}

func spread(maxSkew int32, key string, when v1.UnsatisfiableConstraintAction, options ...func(*v1.TopologySpreadConstraint)) podOption {
	c := v1.TopologySpreadConstraint{MaxSkew: maxSkew, TopologyKey: key, WhenUnsatisfiable: when,
		LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}
	for _, o := range options {
		o(&c)
	}
	return func(p *v1.Pod) { p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, c) }
}

// TestPodTopologySpread has nodes in zones with some pods each; want are the
// nodes where one more fits.
func TestPodTopologySpread(t *testing.T) {
	zone := v1.LabelTopologyZone
	web := label("app", "web")
	min := func(n int32) func(*v1.TopologySpreadConstraint) {
		return func(c *v1.TopologySpreadConstraint) { c.MinDomains = &n }
	}
	ignore := v1.NodeInclusionPolicyIgnore
	for _, c := range []struct {
		name string
		pod  *v1.Pod
		want []string
	}{
		{"even zones", newPod("p", web, spread(1, zone, v1.DoNotSchedule)), []string{"b1"}},
		{"a wider skew", newPod("p", web, spread(3, zone, v1.DoNotSchedule)), []string{"a1", "a2", "b1"}},
		{"a pod that does not count itself", newPod("p", spread(2, zone, v1.DoNotSchedule)), []string{"a1", "a2", "b1"}},
		{"hosts", newPod("p", web, spread(1, v1.LabelHostname, v1.DoNotSchedule)), []string{"b1", "none"}},
		{"both", newPod("p", web, spread(1, zone, v1.DoNotSchedule), spread(1, v1.LabelHostname, v1.DoNotSchedule)), []string{"b1"}},
		{"too few domains", newPod("p", web, spread(2, zone, v1.DoNotSchedule, min(3))), []string{"b1"}},
		{"only a preference", newPod("p", web, spread(1, zone, v1.ScheduleAnyway)), []string{"a1", "a2", "b1", "none"}},
		{"only the nodes it may go to count", newPod("p", web, spread(1, zone, v1.DoNotSchedule), requiredNodes(v1.NodeSelectorRequirement{Key: zone, Operator: v1.NodeSelectorOpIn, Values: []string{"a"}})), []string{"a1", "a2"}},
		{"all nodes count", newPod("p", web, spread(1, zone, v1.DoNotSchedule, func(c *v1.TopologySpreadConstraint) { c.NodeAffinityPolicy = &ignore }),
			requiredNodes(v1.NodeSelectorRequirement{Key: zone, Operator: v1.NodeSelectorOpIn, Values: []string{"a"}})), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := quick(t, newAPI())
			for name, z := range map[string]string{"a1": "a", "a2": "a", "b1": "b"} {
				s.onNode(newNode(name, nodeLabel(zone, z)))
			}
			s.onNode(newNode("none"))
			for name, node := range map[string]string{"w1": "a1", "w2": "a2"} {
				s.onPod(newPod(name, web, onNodeNamed(node)))
			}
			s.onPod(newPod("other", web, inNamespace("other"), onNodeNamed("b1")))
			s.onPod(newPod("leaving", web, onNodeNamed("b1"), func(p *v1.Pod) { now := metav1.NewTime(testTime); p.DeletionTimestamp = &now }))
			got := map[string]bool{}
			for _, r := range s.Explain(c.pod) {
				if len(r.Reasons) == 0 {
					got[r.Node] = true
				}
			}
			want := map[string]bool{}
			for _, name := range c.want {
				want[name] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s%v", diff, s.Explain(c.pod))
			}
		})
	}
}

// TestScores compares the scores of two nodes, of which the first is preferred.
func TestScores(t *testing.T) {
	prefer := func(weight int32, key, value string) v1.PreferredSchedulingTerm {
		return v1.PreferredSchedulingTerm{Weight: weight, Preference: v1.NodeSelectorTerm{
			MatchExpressions: []v1.NodeSelectorRequirement{{Key: key, Operator: v1.NodeSelectorOpIn, Values: []string{value}}}}}
	}
	const mib = 1 << 20
	for _, c := range []struct {
		name   string
		pod    *v1.Pod
		nodes  [2]*v1.Node
		on     []*v1.Pod
		scores [2]int64
	}{
		// Each has 300 for taints (weight 3) and no node affinity.
		{"LeastAllocated and balance", newPod("p", requests(v1.ResourceCPU, "1"), requests(v1.ResourceMemory, "2Gi")),
			[2]*v1.Node{newNode("a"), newNode("b")},
			[]*v1.Pod{newPod("q", onNodeNamed("b"), requests(v1.ResourceCPU, "2"))},
			// a: (75+75)/2 and 100; b: (25+72)/2 and 100*(1-|0.75-0.25|/2)
			[2]int64{300 + 75 + 100, 300 + 48 + 75}},
		{"requests that are not made", newPod("p"),
			[2]*v1.Node{newNode("a"), newNode("b")},
			[]*v1.Pod{newPod("q", onNodeNamed("b"))},
			// 100m and 200Mi for each: a (97+97)/2, b (95+95)/2; no balance without requests
			[2]int64{300 + 97, 300 + 95}},
		{"soft taints", newPod("p"),
			[2]*v1.Node{newNode("a", taint("x", "", v1.TaintEffectPreferNoSchedule)), newNode("b", taint("x", "", v1.TaintEffectPreferNoSchedule), taint("y", "", v1.TaintEffectPreferNoSchedule))}, nil,
			[2]int64{3*50 + 97, 0 + 97}},
		{"soft taints tolerated", newPod("p", tolerating(v1.Toleration{Key: "y", Operator: v1.TolerationOpExists}), tolerating(v1.Toleration{Key: "x", Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoSchedule})),
			[2]*v1.Node{newNode("a", taint("y", "", v1.TaintEffectPreferNoSchedule)), newNode("b", taint("x", "", v1.TaintEffectPreferNoSchedule))}, nil,
			[2]int64{300 + 97, 0 + 97}},
		{"preferred nodes", newPod("p", affinityOf(v1.Affinity{NodeAffinity: &v1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []v1.PreferredSchedulingTerm{prefer(40, "zone", "a"), prefer(10, "disk", "ssd")}}})),
			[2]*v1.Node{newNode("a", nodeLabel("zone", "a")), newNode("b", nodeLabel("disk", "ssd"))}, nil,
			[2]int64{300 + 97 + 2*100, 300 + 97 + 2*25}},
		{"images", newPod("p"),
			[2]*v1.Node{newNode("a", hasImage("image:v1", 1000*mib)), newNode("b")}, nil,
			// Half of the nodes have it: 500 MiB of 23..1000
			[2]int64{300 + 97 + 100*(500-23)/(1000-23), 300 + 97}},
		{"preferred pods", newPod("p", affinityOf(v1.Affinity{PodAffinity: &v1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []v1.WeightedPodAffinityTerm{{Weight: 7, PodAffinityTerm: podTerm_(v1.LabelHostname)}}}})),
			[2]*v1.Node{newNode("a"), newNode("b")},
			[]*v1.Pod{newPod("q", onNodeNamed("a"), label("app", "web")), newPod("r", onNodeNamed("b"))},
			[2]int64{300 + 95 + 200, 300 + 95}},
		{"pods that prefer to be alone", newPod("p", label("app", "web")),
			[2]*v1.Node{newNode("a"), newNode("b")},
			[]*v1.Pod{newPod("r", onNodeNamed("a")), newPod("q", onNodeNamed("b"), affinityOf(v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []v1.WeightedPodAffinityTerm{{Weight: 1, PodAffinityTerm: podTerm_(v1.LabelHostname)}}}}))},
			[2]int64{300 + 95 + 200, 300 + 95}},
		{"spread", newPod("p", label("app", "web"), spread(1, v1.LabelHostname, v1.ScheduleAnyway)),
			[2]*v1.Node{newNode("a"), newNode("b")},
			[]*v1.Pod{newPod("r", onNodeNamed("a")), newPod("q", onNodeNamed("b"), label("app", "web"))},
			[2]int64{300 + 95 + 200, 300 + 95}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := quick(t, newAPI())
			for _, n := range c.nodes {
				s.onNode(n)
			}
			for _, p := range c.on {
				s.onPod(p)
			}
			why := s.Explain(c.pod)
			if got := [2]int64{why[0].Score, why[1].Score}; got != c.scores {
				t.Errorf("scores %v, want %v", got, c.scores)
			}
			s.onPod(c.pod)
			drain(s)
			if got := where(s, c.pod); got != "a" {
				t.Errorf("bound to %q", got)
			}
		})
	}
}
