// Package input sends a running cluster what it should refuse, and looks that
// the refusal is clear and that nothing is lost by it.
package input

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"clipper/test/cluster"
)

const (
	jsonType  = "application/json"
	yamlType  = "application/yaml"
	protoType = "application/vnd.kubernetes.protobuf"
	configs   = "/api/v1/namespaces/default/configmaps"
	podsPath  = "/api/v1/namespaces/default/pods"
)

func nested(depth int) string {
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deep"},"x":` + strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth) + "}"
}

func yamlBomb() string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bomb\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	return b.String()
}

var refused = []struct {
	name, method, path, contentType, body string
	code                                  int
	message                               string // a regexp
}{
	{"unknown field, strict", "POST", configs + "?fieldValidation=Strict", jsonType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"spec":{}}`, 400,
		`strict decoding error: unknown field "spec"`},
	{"duplicate field, strict", "POST", configs + "?fieldValidation=Strict", jsonType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","name":"b"}}`, 400,
		`strict decoding error: duplicate field "metadata.name"`},
	{"wrong type", "POST", podsPath, jsonType, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":5}]}}`, 400,
		`cannot unmarshal number into Go struct field Container.spec.containers.image of type string`},
	{"wrong kind", "POST", configs, jsonType, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}`, 400, `cannot be handled as a ConfigMap`},
	{"unknown kind", "POST", configs, jsonType, `{"apiVersion":"v9","kind":"Nonsense"}`, 400, `no kind "Nonsense" is registered for version "v9"|does not match`},
	{"no kind", "POST", configs, jsonType, `{"metadata":{"name":5}}`, 400, `cannot unmarshal number`},
	{"not JSON", "POST", configs, jsonType, `{"apiVersion":`, 400, `unexpected (end of JSON input|EOF)`},
	{"empty body", "POST", configs, jsonType, ``, 400, `.`},
	{"invalid name", "POST", configs, jsonType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"Not_Valid"}}`, 422,
		`metadata.name: Invalid value: "Not_Valid": a lowercase RFC 1123 subdomain must consist of`},
	{"no name", "POST", configs, jsonType, `{"apiVersion":"v1","kind":"ConfigMap"}`, 422, `name or generateName is required`},
	{"other namespace", "POST", configs, jsonType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"b"}}`, 400, `the namespace of the provided object does not match the namespace sent on the request`},
	{"missing namespace", "POST", "/api/v1/namespaces/missing/configmaps", jsonType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`, 404, `namespaces "missing" not found`},
	{"no containers", "POST", podsPath, jsonType, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{}}`, 422, `spec.containers: Required value`},
	{"several errors at once", "POST", podsPath, jsonType, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"C","restartPolicy":"x"},{"name":"c","image":"i","volumeMounts":[{"name":"v","mountPath":"/v"}]}]}}`, 422,
		`(?s)spec.containers\[0\].name: Invalid value.*spec.containers\[0\].image: Required value.*spec.containers\[1\].volumeMounts\[0\].name: Not found: "v"`},
	{"deep nesting", "POST", configs, jsonType, nested(20_000), 400, `(exceeded|too deep|nest)`},
	{"a YAML bomb", "POST", configs, yamlType, yamlBomb(), 400, `.`},
	{"too large", "POST", configs, jsonType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"` + strings.Repeat("x", 4<<20) + `"}}`, 413, `(too large|limit)`},
	{"over a ConfigMap's megabyte", "POST", configs, jsonType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"` + strings.Repeat("x", 1<<20+1) + `"}}`, 422, `Too long: may not be more than 1048576 bytes`},
	{"broken protobuf", "POST", configs, protoType, "k8s\x00\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 400, `.`},
	{"protobuf without its magic", "POST", configs, protoType, "plain", 400, `.`},
	{"unknown media type", "POST", configs, "text/html", `<html>`, 415, `(?i)media type|the body of the request was in an unknown format`},
	{"update of what is not there", "PUT", configs + "/missing", jsonType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"missing"}}`, 404, `configmaps "missing" not found`},
	{"update with another name", "PUT", configs + "/kept", jsonType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}}`, 400, `the name of the object \(other\) does not match the name on the URL \(kept\)`},
	{"conflicting update", "PUT", configs + "/kept", jsonType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept","resourceVersion":"1"}}`, 409, `Operation cannot be fulfilled on configmaps "kept": the object has been modified; please apply your changes to the latest version and try again`},
	{"create what is there", "POST", configs, jsonType, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept"}}`, 409, `configmaps "kept" already exists`},
	{"broken JSON patch", "PATCH", configs + "/kept", "application/json-patch+json", `[{"op":"replace","path":"/nowhere/at/all","value":1}]`, 422, `.`},
	{"patch that is no patch", "PATCH", configs + "/kept", "application/json-patch+json", `{`, 400, `.`},
	{"patch that breaks the kind", "PATCH", configs + "/kept", "application/merge-patch+json", `{"data":{"k":{"not":"text"}}}`, 422, `patch: Invalid value`},
	{"unknown patch type", "PATCH", configs + "/kept", jsonType, `{}`, 415, `.`},
	{"bad label selector", "GET", configs + "?labelSelector=a%3D%3D%3Db", "", "", 400, `.`},
	{"unknown field selector", "GET", podsPath + "?fieldSelector=spec.color%3Dred", "", "", 400, `field label not supported: spec.color`},
	{"bad resourceVersion", "GET", configs + "?resourceVersion=abc", "", "", 400, `invalid resource version: resourceVersion: Invalid value: "abc"`},
	{"bad limit", "GET", configs + "?limit=abc", "", "", 400, `.`},
	{"forged continue token", "GET", configs + "?limit=1&continue=nonsense", "", "", 400, `continue`},
	{"no such resource", "GET", "/api/v1/nonsense", "", "", 404, `the server could not find the requested resource`},
	{"no such method", "DELETE", "/api/v1/pods", "", "", 405, `.`},
	{"a path out of the tree", "GET", "/api/v1/namespaces/default/pods/..%2f..%2fetc", "", "", 404, `.`},
}

func TestRefused(t *testing.T) {
	c := cluster.Start(t, "--memory-store")
	client := c.Client()
	ctx := t.Context()
	kept, err := client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string]string{"k": "v"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.RestConfig()
	cfg.Timeout = 30 * time.Second
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range refused {
		t.Run(r.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(ctx, r.method, cfg.Host+r.path, strings.NewReader(r.body))
			if err != nil {
				t.Fatal(err)
			}
			if r.contentType != "" {
				req.Header.Set("Content-Type", r.contentType)
			}
			req.Header.Set("Accept", jsonType)
			resp, err := h.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			var s metav1.Status
			if err := json.Unmarshal(body, &s); err != nil || s.Kind != "Status" || int(s.Code) != resp.StatusCode {
				t.Fatalf("answered %d with what is no Status: %.500s", resp.StatusCode, body)
			}
			if resp.StatusCode != r.code || !regexp.MustCompile(r.message).MatchString(s.Message) {
				t.Errorf("answered %d, want %d: %.2000s\nwant it to match %s", resp.StatusCode, r.code, s.Message, r.message)
			}
		})
	}
	now, err := client.CoreV1().ConfigMaps("default").Get(ctx, "kept", metav1.GetOptions{})
	if err != nil || now.ResourceVersion != kept.ResourceVersion || now.Data["k"] != "v" {
		t.Errorf("what was there has changed: %v, %v", now, err)
	}
	list, err := client.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, cm := range list.Items {
		if cm.Name != "kept" && cm.Name != "kube-root-ca.crt" {
			t.Errorf("ConfigMap %s came from a request that was refused", cm.Name)
		}
	}
}

// TestWarned: what is only odd is stored, and the client is told.
func TestWarned(t *testing.T) {
	c := cluster.Start(t, "--memory-store")
	cmd := c.Command(t.Context(), cluster.Program(t), "kubectl", "create", "--validate=warn", "-f", "-")
	cmd.Stdin = strings.NewReader("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: odd\ncolor: red\n")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(`Warning: unknown field "color"`)) || !bytes.Contains(out, []byte("configmap/odd created")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestStrangers: nobody gets in without a credential, and a bad one is no better
// than none.
func TestStrangers(t *testing.T) {
	c := cluster.Start(t, "--memory-store")
	anonymous := rest.AnonymousClientConfig(c.RestConfig())
	h, err := rest.HTTPClientFor(anonymous)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		path, token string
		code        int
	}{
		{"/healthz", "", 200}, {"/livez", "", 200}, {"/readyz", "", 200}, {"/version", "", 200},
		{"/api/v1/namespaces", "", 401}, {"/api/v1/namespaces/default/secrets", "", 401}, {"/metrics", "", 401},
		{"/apis", "", 401}, {"/openapi/v3", "", 401}, {"/debug/pprof/", "", 401}, {"/", "", 401},
		{"/api/v1/namespaces", "forged", 401}, {"/api/v1/namespaces", "e30.e30.e30", 401},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, anonymous.Host+s.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.token != "" {
			req.Header.Set("Authorization", "Bearer "+s.token)
		}
		resp, err := h.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != s.code {
			t.Errorf("%s with token %q: %d, want %d", s.path, s.token, resp.StatusCode, s.code)
		}
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	name := fmt.Sprintf("test-%d-port", os.Getpid())
	port := l.Addr().(*net.TCPAddr).Port
	cmd := exec.Command(cluster.Program(t), "start", "--no-uplink", "--name", name, "--port", fmt.Sprint(port))
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(t.TempDir(), "kubeconfig"))
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, fmt.Appendf(nil, "port %d on 127.0.0.1, where cluster %q serves its API, is in use", port, name)) {
		t.Errorf("%v\n%s", err, out)
	}
	del := exec.Command(cluster.Program(t), "delete", "--name", name)
	del.Env = cmd.Env
	if out, err := del.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestFullDisk: a store without space refuses writes, goes on serving reads, and
// takes writes again when there is space.
func TestFullDisk(t *testing.T) {
	// A cluster keeps its store at a known place; a small tmpfs is put there. The
	// node's mount namespace is a copy of the machine's, so it sees it.
	c := cluster.Start(t)
	c.Clipper("stop", "--name", c.Name)
	store := filepath.Join("/var/lib/clipper", c.Name, c.Node(), "store")
	small := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=96m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(small, unix.MNT_DETACH) })
	if out, err := exec.Command("cp", "-a", store+"/.", small).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := unix.Mount(small, store, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(store, unix.MNT_DETACH) })
	c.Resume()
	client, ctx := c.Client(), t.Context()
	configMaps := client.CoreV1().ConfigMaps("default")
	write := func(name string) error {
		_, err := configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"k": strings.Repeat(name, 1000)}}, metav1.CreateOptions{})
		return err
	}
	if err := write("before"); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(small, "filler")
	fill(t, filler)
	var full error
	for i := 0; i < 10_000 && full == nil; i++ {
		full = write(fmt.Sprintf("fill-%d", i))
	}
	if full == nil {
		t.Fatal("writes never fail on a full disk")
	}
	if !strings.Contains(full.Error(), "space") {
		t.Errorf("the refusal does not speak of space: %v (%s)", full, apierrors.ReasonForError(full))
	}
	if _, err := configMaps.Get(ctx, "before", metav1.GetOptions{}); err != nil {
		t.Errorf("reads fail on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := write("after"); err != nil {
		t.Errorf("writes still fail with space on the disk: %v", err)
	}
	if _, err := configMaps.Get(ctx, "before", metav1.GetOptions{}); err != nil {
		t.Errorf("lost: %v", err)
	}
}

// fill takes all space of a file system but nothing else's.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); ; {
		if _, err := f.Write(block); err != nil {
			return
		}
	}
}
