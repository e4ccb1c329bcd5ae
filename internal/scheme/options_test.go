package scheme

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
)

func parse(t *testing.T, s string) url.Values {
	t.Helper()
	v, err := url.ParseQuery(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestListOptions(t *testing.T) {
	o, err := ParseListOptions(parse(t, "watch=1&labelSelector=a%3Db&limit=5&continue=x&resourceVersion=0&resourceVersionMatch=NotOlderThan&timeoutSeconds=9&allowWatchBookmarks=true&sendInitialEvents=true&other=1"))
	if err != nil {
		t.Fatal(err)
	}
	want := metav1.ListOptions{
		Watch: true, LabelSelector: "a=b", Limit: 5, Continue: "x", ResourceVersion: "0", ResourceVersionMatch: "NotOlderThan",
		TimeoutSeconds: new(int64(9)), AllowWatchBookmarks: true, SendInitialEvents: new(true),
	}
	if d := cmp.Diff(want, o); d != "" {
		t.Error(d)
	}
	if _, err := ParseListOptions(parse(t, "limit=many")); err == nil || !strings.Contains(err.Error(), "invalid syntax") {
		t.Errorf("error %v", err)
	}
	d, err := ParseDeleteOptions(parse(t, "gracePeriodSeconds=0&propagationPolicy=Foreground&dryRun=All"))
	if err != nil || *d.GracePeriodSeconds != 0 || *d.PropagationPolicy != metav1.DeletePropagationForeground || d.DryRun[0] != "All" {
		t.Errorf("%+v %v", d, err)
	}
	if _, err := ParseTableOptions(parse(t, "includeObject=All")); err == nil {
		t.Error("no error")
	}
}

// What client-go's encoder makes of connection options comes back the same.
func TestConnectionOptions(t *testing.T) {
	encode := func(o runtime.Object) url.Values {
		v, err := clientscheme.ParameterCodec.EncodeParameters(o, corev1.SchemeGroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	kind := func(k string) metav1.TypeMeta { return metav1.TypeMeta{Kind: k, APIVersion: "v1"} }
	since := metav1.Now().Rfc3339Copy()
	log := &corev1.PodLogOptions{
		TypeMeta: kind("PodLogOptions"), Container: "c", Follow: true, Previous: true, SinceSeconds: new(int64(3)), Timestamps: true, TailLines: new(int64(0)),
		LimitBytes: new(int64(7)), Stream: new("All"),
	}
	if got, err := ParsePodLogOptions(encode(log)); err != nil || !cmp.Equal(got, log) {
		t.Errorf("%v %s", err, cmp.Diff(log, got))
	}
	log = &corev1.PodLogOptions{TypeMeta: kind("PodLogOptions"), SinceTime: &since}
	if got, err := ParsePodLogOptions(encode(log)); err != nil || !got.SinceTime.Equal(&since) {
		t.Errorf("%v %v", err, got)
	}
	exec := &corev1.PodExecOptions{TypeMeta: kind("PodExecOptions"), Stdin: true, Stdout: true, TTY: true, Container: "c", Command: []string{"sh", "-c", "a b"}}
	if got, err := ParsePodExecOptions(encode(exec)); err != nil || !cmp.Equal(got, exec) {
		t.Errorf("%v %s", err, cmp.Diff(exec, got))
	}
	forward := &corev1.PodPortForwardOptions{TypeMeta: kind("PodPortForwardOptions"), Ports: []int32{80, 443}}
	if got, err := ParsePodPortForwardOptions(encode(forward)); err != nil || !cmp.Equal(got, forward) {
		t.Errorf("%v %s", err, cmp.Diff(forward, got))
	}
	for _, bad := range []string{"ports=0", "ports=65536", "ports=x"} {
		if _, err := ParsePodPortForwardOptions(parse(t, bad)); err == nil {
			t.Errorf("%s is no error", bad)
		}
	}
	for _, bad := range []string{"tailLines=x", "sinceTime=yesterday"} {
		if _, err := ParsePodLogOptions(parse(t, bad)); err == nil {
			t.Errorf("%s is no error", bad)
		}
	}
}

func TestDecodeDeleteOptions(t *testing.T) {
	table := New()
	for body, ok := range map[string]bool{
		`{"gracePeriodSeconds":0}`: true,
		`{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}`:             true,
		`{"kind":"DeleteOptions","apiVersion":"apps/v1","gracePeriodSeconds":0}`:        true,
		`{"kind":"DeleteOptions","apiVersion":"meta.k8s.io/v1","gracePeriodSeconds":0}`: true,
		`{"kind":"Pod","apiVersion":"v1","gracePeriodSeconds":0}`:                       false,
		`{"kind":"DeleteOptions","apiVersion":"none/v1","gracePeriodSeconds":0}`:        true,
		`{"gracePeriodSeconds":"x"}`:                                                    false,
		`{`:                                                                             false,
	} {
		o, err := table.DecodeDeleteOptions([]byte(body), JSON)
		if (err == nil) != ok || ok && *o.GracePeriodSeconds != 0 {
			t.Errorf("%s: %+v %v", body, o, err)
		}
	}
	in := &metav1.DeleteOptions{GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions("u")}
	setType(in, "policy/v1", "DeleteOptions")
	b, err := EncodeProtobuf(nil, in)
	if err != nil {
		t.Fatal(err)
	}
	o, err := table.DecodeDeleteOptions(b, Protobuf)
	if err != nil || *o.GracePeriodSeconds != 0 || string(*o.Preconditions.UID) != "u" {
		t.Errorf("%+v %v", o, err)
	}
}
