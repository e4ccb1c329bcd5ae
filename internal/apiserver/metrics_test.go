package apiserver_test

import (
	"strings"
	"testing"

	"clipper/internal/admission"
	"clipper/internal/apiserver"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
)

// told fails unless all lines are on the page of metrics.
func told(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

// Addresses and ports of Services are counted as taken and free, and what was
// asked for as stated or chosen; what is only tried is not.
func TestAllocatorsAreCounted(t *testing.T) {
	c := start(t)
	services := c.admin(runtime.ContentTypeProtobuf).CoreV1().Services("default")
	create := func(s *corev1.Service, o metav1.CreateOptions) error {
		_, err := services.Create(t.Context(), s, o)
		return err
	}
	stated := aService("stated", corev1.ServiceTypeNodePort)
	stated.Spec.ClusterIP, stated.Spec.Ports[0].NodePort = "10.96.0.9", 30001
	again := stated.DeepCopy()
	again.Name = "again"
	for _, err := range []error{
		create(aService("chosen", corev1.ServiceTypeNodePort), metav1.CreateOptions{}),
		create(stated, metav1.CreateOptions{}),
		create(aService("tried", corev1.ServiceTypeNodePort), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if create(again, metav1.CreateOptions{}) == nil {
		t.Fatal("an address has two Services")
	}
	_, page := c.raw(t, "admin", "system:masters").do("GET", "/metrics", "")
	told(t, page,
		`kube_apiserver_clusterip_allocator_allocated_ips{cidr="10.96.0.0/24"} 3`, // and that of the API
		`kube_apiserver_clusterip_allocator_available_ips{cidr="10.96.0.0/24"} 251`,
		`kube_apiserver_clusterip_allocator_allocation_total{cidr="10.96.0.0/24",scope="dynamic"} 1`,
		`kube_apiserver_clusterip_allocator_allocation_total{cidr="10.96.0.0/24",scope="static"} 2`,
		`kube_apiserver_clusterip_allocator_allocation_errors_total{cidr="10.96.0.0/24",scope="static"} 1`,
		`kube_apiserver_nodeport_allocator_allocated_ports 2`,
		`kube_apiserver_nodeport_allocator_available_ports 2766`,
		`kube_apiserver_nodeport_allocator_allocation_total{scope="dynamic"} 1`,
		`kube_apiserver_nodeport_allocator_allocation_total{scope="static"} 1`,
		`kube_apiserver_nodeport_allocator_allocation_errors_total{scope="static"} 1`,
	)
}

// A watch that says it is a dry run is no series of its own beside another, and
// a watch that has ended is told as none.
func TestLongRunningRequests(t *testing.T) {
	c := start(t)
	a := c.raw(t, "admin", "system:masters")
	const maps, of = "/api/v1/namespaces/default/configmaps", `component="apiserver",group="",resource="configmaps",scope="namespace",subresource="",verb="WATCH",version="v1"`
	a.do("GET", maps+"?watch=1&timeoutSeconds=1", "")
	a.do("GET", maps+"?watch=1&timeoutSeconds=1&dryRun=All&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", "")
	a.do("GET", maps+"?watch=1&timeoutSeconds=1&dryRun=x", "")
	a.do("GET", maps+"?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dm", "")
	a.do("GET", "/api/v1/namespaces/default/pods/p/log", "")
	res, page := a.do("GET", "/metrics", "")
	if res.StatusCode != 200 { // which two series of one name would change
		t.Fatal(page)
	}
	told(t, page,
		`apiserver_longrunning_requests{`+of+`} 0`,
		`apiserver_longrunning_requests{`+strings.Replace(of, "namespace", "resource", 1)+`} 0`,
		`apiserver_longrunning_requests{component="apiserver",group="",resource="pods",scope="resource",subresource="log",verb="CONNECT",version="v1"} 0`,
		`apiserver_request_total{code="200",`+strings.Replace(of, `group=`, `dry_run="",group=`, 1)+`} 2`,
		`apiserver_request_total{code="200",`+strings.Replace(of, `group=`, `dry_run="All",group=`, 1)+`} 1`,
		`apiserver_request_total{code="200",`+strings.Replace(of, `group=`, `dry_run="invalid",group=`, 1)+`} 1`,
		`apiserver_request_duration_seconds_count{`+strings.Replace(of, `group=`, `dry_run="",group=`, 1)+`} 2`,
		`apiserver_watch_list_duration_seconds_count{group="",resource="configmaps",scope="namespace",version="v1"} 1`,
	)
	if strings.Contains(page, "apiserver_request_sli_duration_seconds_count{"+of) {
		t.Error("a watch is held to an objective")
	}
	if n := strings.Count(page, "\napiserver_longrunning_requests{"+of); n != 1 {
		t.Errorf("%d series", n)
	}
}

// A write through a subresource is counted with the others of its resource, and
// a deletion without a body as one of none.
func TestBodiesOfSubresources(t *testing.T) {
	a := start(t).raw(t, "admin", "system:masters")
	const accounts = "/api/v1/namespaces/default/serviceaccounts"
	a.do("POST", accounts, `{"metadata":{"name":"a"}}`)
	a.do("POST", accounts+"/a/token", `{}`)
	_, page := a.do("GET", "/metrics", "")
	told(t, page, `apiserver_request_body_size_bytes_count{group="",resource="serviceaccounts",verb="create"} 2`)
	a.do("DELETE", accounts+"/a", "")
	a.do("DELETE", accounts, "")
	_, page = a.do("GET", "/metrics", "")
	told(t, page,
		`apiserver_request_body_size_bytes_count{group="",resource="serviceaccounts",verb="delete"} 1`,
		`apiserver_request_body_size_bytes_count{group="",resource="serviceaccounts",verb="delete_collection"} 1`,
	)
}

// What nobody did yet is there all the same where upstream has it.
func TestEmptyMetrics(t *testing.T) {
	c := start(t)
	if _, page := c.raw(t, "admin", "system:masters").do("GET", "/metrics", ""); !strings.Contains(page, "\napiserver_client_certificate_expiration_seconds_count ") {
		t.Error(page)
	} else if strings.Contains(page, `apiserver_flowcontrol_request_wait_duration_seconds_count{execute="true",flow_schema="exempt"`) {
		t.Error("an exempt request waited")
	}
}

// Admission is counted beside what the server counts.
func TestAdmissionIsCounted(t *testing.T) {
	c := start(t, func(c *apiserver.Config) {
		c.Admission = admission.NewChain(clock.RealClock{}, admission.On{Plugin: fixed{}})
	})
	a := c.raw(t, "admin", "system:masters")
	a.do("POST", "/api/v1/namespaces/default/configmaps", aMap)
	_, page := a.do("GET", "/metrics", "")
	if !strings.Contains(page, `apiserver_admission_controller_admission_duration_seconds_count{name="Fixed",operation="CREATE",rejected="false",type="admit"}`) {
		t.Error(page)
	}
}
