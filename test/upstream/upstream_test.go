// Package upstream holds our API to what upstream's answered: what becomes of
// an object that is stored, what its table shows, and why bad ones are refused.
//
// testdata/KIND.yaml are the objects, and testdata/KIND.cases what is done to
// them, a line each:
//
//	create NAME POINTER VALUE    create the object with one field changed
//	update NAME POINTER VALUE    create it as it is, then change the field
//	PATH NAME POINTER VALUE      the same through a subresource (status, scale)
//
// NAME is the object's, POINTER a JSON pointer, VALUE JSON; "-" takes the field
// away. Every object is created once besides. testdata/KIND.answers is what
// upstream said: -server and -token name one to record it from.
package upstream

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"clipper/internal/admission"
	"clipper/internal/apiserver"
	"clipper/internal/apiserver/connect"
	"clipper/internal/apiserver/discovery"
	"clipper/internal/apiserver/table"
	"clipper/internal/auth"
	"clipper/internal/cel"
	"clipper/internal/scheme"
	"clipper/internal/store/pebble"
	"clipper/internal/validate"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"
)

var (
	server = flag.String("server", "", "record the answers of this server instead of comparing ours")
	token  = flag.String("token", "", "a token that may do everything there")
)

// everything lets the one user of the tests do everything.
type everything struct{}

func (everything) Authorize(context.Context, auth.Attributes) (bool, string, error) {
	return true, "", nil
}

func (everything) Authenticate(*http.Request) (user.Info, error) {
	return &user.DefaultInfo{Name: "admin", UID: "1", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}, nil
}

// anything lets everybody approve and sign.
func anything(context.Context, user.Info, string, string, string) (bool, error) { return true, nil }

type api struct {
	t    *testing.T
	do   func(*http.Request) *http.Response
	base string
}

// ours starts an API server without controllers, in memory.
func ours(t *testing.T) *api {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	db, err := pebble.Open(pebble.Config{Memory: true, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	rows := scheme.New()
	watched := apiserver.NewCache(db, rows, clock.RealClock{}, log)
	s, err := apiserver.New(apiserver.Config{
		Store: db, Table: rows, Cache: watched, Authenticator: everything{}, Authorizer: everything{},
		Admission:   admission.New(admission.Config{Objects: watched, Clock: clock.RealClock{}, Suffix: rand.String, Permit: anything}),
		Validator:   validate.New(rows, cel.NewCompiler()),
		Tabler:      table.New(clock.RealClock{}),
		Connector:   connect.New(connect.Config{Objects: watched, Kubelet: &tls.Config{}, Logger: log}),
		Discovery:   discovery.New(discovery.Config{Table: rows}),
		ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"), Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	rctx, rcancel := context.WithTimeout(ctx, time.Minute)
	defer rcancel()
	if err := s.Ready(rctx); err != nil {
		t.Fatal(err)
	}
	return &api{t: t, base: "http://api", do: func(r *http.Request) *http.Response {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Result()
	}}
}

// unanswered stands for what a server said nothing to.
const unanswered = "no answer"

func theirs(t *testing.T) *api {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 8}}
	return &api{t: t, base: *server, do: func(r *http.Request) *http.Response {
		r.Header.Set("Authorization", "Bearer "+*token)
		r.Header["X-Idempotency-Key"] = nil // sent again over another connection, if that of the last is closed
		res, err := client.Do(r)
		if errors.Is(err, io.EOF) { // a request that it panics on is not answered
			return &http.Response{StatusCode: http.StatusBadGateway, Body: io.NopCloser(strings.NewReader(unanswered))}
		}
		if err != nil {
			t.Fatal(err)
		}
		return res
	}}
}

// ask makes a request and returns the answer's code and body.
func (a *api) ask(method, path, contentType, accept string, body []byte) (int, []byte) {
	r, err := http.NewRequest(method, a.base+path, bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Accept", accept)
	r.Header.Set("User-Agent", "test")
	res := a.do(r)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return res.StatusCode, b
}

// remove deletes an object for good, where no controllers are that would let go of it.
func (a *api) remove(path string) {
	defer a.ask("PUT", path+"/finalize", jsonType, jsonType, []byte(`{"metadata":{"name":"`+path[strings.LastIndexByte(path, '/')+1:]+`"}}`)) // of a namespace
	a.ask("PATCH", path, "application/merge-patch+json", jsonType, []byte(`{"metadata":{"finalizers":null}}`))
	a.ask("DELETE", path+"?gracePeriodSeconds=0&propagationPolicy=Background", jsonType, jsonType, nil)
}

const (
	jsonType  = "application/json"
	tableType = "application/json;as=Table;g=meta.k8s.io;v=v1"
)

// told makes the request and writes the answer on one line, its warnings last.
func (a *api) told(r *http.Request) string {
	res := a.do(r)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	text := answer(res.StatusCode, b)
	if warnings := res.Header.Values("Warning"); len(warnings) > 0 {
		slices.Sort(warnings)
		text += " warnings: " + strings.Join(warnings, " ")
	}
	return text
}

// object is one of a file.
type object struct {
	name string
	row  *scheme.Resource
	tree map[string]any
	path string // of its collection
}

func read(t *testing.T, rows *scheme.Table, file string) (all []*object) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range strings.Split(string(b), "\n---\n") {
		o := &object{}
		if err := yaml.Unmarshal([]byte(doc), &o.tree); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		meta := o.tree["metadata"].(map[string]any)
		o.name = meta["name"].(string)
		gvk := schema.FromAPIVersionAndKind(o.tree["apiVersion"].(string), o.tree["kind"].(string))
		if o.row = rows.ByKind(gvk); o.row == nil {
			t.Fatalf("%s: no kind %s", file, gvk)
		}
		o.path = "/apis/" + gvk.Group + "/" + gvk.Version + "/"
		if gvk.Group == "" {
			o.path = "/api/" + gvk.Version + "/"
		}
		if o.row.Namespaced {
			o.path += "namespaces/default/"
		}
		o.path += o.row.Name
		all = append(all, o)
	}
	return all
}

// change is one line of the cases.
type change struct {
	line, verb, name string
	patch            []byte // a JSON patch
}

func cases(t *testing.T, file string) (all []change) {
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		all = append(all, parse(t, line))
	}
	return all
}

func parse(t *testing.T, line string) change {
	parts := strings.SplitN(line, " ", 4)
	if len(parts) != 4 {
		t.Fatalf("%q", line)
	}
	op := map[string]any{"op": "add", "path": parts[2]}
	if parts[3] == "-" {
		op["op"] = "remove"
	} else {
		var v any
		if err := json.Unmarshal([]byte(parts[3]), &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		op["value"] = v
	}
	p, err := json.Marshal([]any{op})
	if err != nil {
		t.Fatal(err)
	}
	return change{line, parts[0], parts[1], p}
}

// order puts changes that leave nothing before those of an object that is there.
func order(c change) int {
	if c.verb == "create" {
		return 0
	}
	return 1
}

// What differs from one server to another, and what stands for it.
var natural = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UID"},
	{regexp.MustCompile(`20(2[6-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), "NOW"},
	{regexp.MustCompile(`"\d+(s|y\d*d?)"`), `"AGE"`},
	{regexp.MustCompile(`\(\d+y\d*d? ago\)`), `(AGE ago)`},
	{regexp.MustCompile(`selfType\d+`), "selfType"},
	{regexp.MustCompile(`, current: \d+`), ", current: N"},
	{regexp.MustCompile(`kube-api-access-[a-z0-9]{5}`), "kube-api-access-x"},
	// Values that are structs are shown as Go has them there.
	{regexp.MustCompile(`value: (\{.*?\}|\[.*?\]|[a-z0-9]+\.[A-Z][A-Za-z]*\{.*?\}): `), "value: {...}: "},
	// What a patch makes of an object is told whole, with its version.
	{regexp.MustCompile(`Invalid value: "\{\\"[a-zA-Z]+\\":.*\}": `), "Invalid value: {...}: "},
	// So is what changed of a pod.
	{regexp.MustCompile(`\\n@@.*?( && |$)`), " @@$1"},
}

func masked(text string) string {
	for _, n := range natural {
		text = n.what.ReplaceAllString(text, n.as)
	}
	// Which values are supported counts, not their order.
	return supported.ReplaceAllStringFunc(text, func(list string) string {
		values := strings.Split(strings.TrimPrefix(list, "supported values: "), ", ")
		slices.Sort(values)
		return "supported values: " + strings.Join(values, ", ")
	})
}

var supported = regexp.MustCompile(`supported values: ("[^"]*"(, )?)+`)

// answer writes what a server said on one line.
func answer(code int, body []byte) string {
	if code >= 400 {
		var s metav1.Status
		if err := json.Unmarshal(body, &s); err != nil {
			return fmt.Sprintf("%d %s", code, body)
		}
		if s.Details == nil || len(s.Details.Causes) == 0 {
			return masked(fmt.Sprintf("%d %s: %s", code, s.Reason, strings.ReplaceAll(s.Message, "\n", `\n`)))
		}
		var parts []string
		for _, c := range s.Details.Causes {
			parts = append(parts, masked(fmt.Sprintf("%s: %s: %s", c.Field, c.Type, strings.ReplaceAll(c.Message, "\n", `\n`))))
		}
		slices.Sort(parts)
		parts = slices.Compact(parts)
		return fmt.Sprintf("%d %s", code, strings.Join(parts, " && "))
	}
	var o map[string]any
	if err := json.Unmarshal(body, &o); err != nil {
		return fmt.Sprintf("%d %s", code, body)
	}
	if rows, ok := o["rows"].([]any); ok {
		var lines []string
		for _, r := range rows {
			b, _ := json.Marshal(r.(map[string]any)["cells"])
			lines = append(lines, string(b))
		}
		var names []string
		for _, c := range o["columnDefinitions"].([]any) {
			d := c.(map[string]any)
			names = append(names, fmt.Sprintf("%v(%v%v,%v)", d["name"], d["type"], d["format"], d["priority"]))
		}
		return masked(strings.Join(names, "|") + " = " + strings.Join(lines, ""))
	}
	meta, _ := o["metadata"].(map[string]any)
	for _, own := range []string{"uid", "resourceVersion", "managedFields", "creationTimestamp"} {
		delete(meta, own)
	}
	b, _ := json.Marshal(o)
	return masked(string(b))
}

// play does all that a file says, and returns the answers, a line each.
func play(a *api, rows *scheme.Table, file string) []string {
	t := a.t
	var out []string
	say := func(what, text string) { out = append(out, what+"\n\t"+text+"\n") }
	byName := map[string]*object{}
	all := read(t, rows, file)
	for _, o := range all {
		byName[o.name] = o
		body, err := json.Marshal(o.tree)
		if err != nil {
			t.Fatal(err)
		}
		code, b := a.ask("POST", o.path+"?dryRun=All", jsonType, jsonType, body)
		say("stored "+o.name, answer(code, b))
		code, b = a.ask("POST", o.path+"?dryRun=All", jsonType, tableType, body)
		say("table "+o.name, answer(code, b))
	}
	created := map[string]bool{}
	lines := cases(t, strings.TrimSuffix(file, ".yaml")+".cases")
	slices.SortStableFunc(lines, func(a, b change) int { // those that leave nothing come first
		return cmp.Compare(order(a), order(b))
	})
	for _, c := range lines {
		o := byName[c.name]
		if o == nil {
			t.Fatalf("%s: no object %s", c.line, c.name)
		}
		if c.verb == "create" {
			body := patched(t, o.tree, c)
			code, b := a.ask("POST", o.path+"?dryRun=All&fieldValidation=Strict", jsonType, jsonType, body)
			say(c.line, answer(code, b))
			continue
		}
		if !created[o.name] {
			created[o.name] = true
			body, err := json.Marshal(o.tree)
			if err != nil {
				t.Fatal(err)
			}
			if code, b := a.ask("POST", o.path, jsonType, jsonType, body); code != http.StatusCreated {
				t.Errorf("create %s: %d %s", o.name, code, b)
			}
		}
		path := o.path + "/" + o.name
		accept := jsonType
		if c.verb != "update" {
			verb, found := strings.CutSuffix(c.verb, "-table")
			if found {
				accept = tableType
			}
			path += "/" + verb
		}
		code, b := a.ask("PATCH", path+"?dryRun=All", "application/json-patch+json", accept, c.patch)
		say(c.line, answer(code, b))
	}
	for _, o := range all {
		if created[o.name] {
			a.remove(o.path + "/" + o.name)
		}
	}
	return out
}

func patched(t *testing.T, tree map[string]any, c change) []byte {
	var ops []struct {
		Op, Path string
		Value    any
	}
	if err := json.Unmarshal(c.patch, &ops); err != nil {
		t.Fatal(err)
	}
	copied := runtime.DeepCopyJSON(tree)
	if err := put(copied, strings.Split(ops[0].Path, "/")[1:], ops[0].Value, ops[0].Op == "remove"); err != nil {
		t.Fatalf("%s: %v", c.line, err)
	}
	b, err := json.Marshal(copied)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put sets or removes what a pointer names; maps on the way are made.
func put(at any, path []string, value any, remove bool) error {
	key := strings.NewReplacer("~1", "/", "~0", "~").Replace(path[0])
	last := len(path) == 1
	switch node := at.(type) {
	case map[string]any:
		switch {
		case last && remove:
			delete(node, key)
		case last:
			node[key] = value
		default:
			if list, ok := node[key].([]any); ok && path[1] == "-" && len(path) == 2 {
				node[key] = append(list, value)
				return nil
			}
			if node[key] == nil {
				node[key] = map[string]any{}
			}
			return put(node[key], path[1:], value, remove)
		}
		return nil
	case []any:
		var n int
		if _, err := fmt.Sscan(key, &n); err != nil || n >= len(node) {
			return fmt.Errorf("no item %s", key)
		}
		if last && !remove {
			node[n] = value
			return nil
		}
		return put(node[n], path[1:], value, remove)
	}
	return fmt.Errorf("nothing at %s", key)
}

// differences are the answers that are not upstream's, each with its reason.
func differences(t *testing.T) map[string]string {
	b, err := os.ReadFile("testdata/differences")
	if err != nil {
		t.Fatal(err)
	}
	known, reason := map[string]string{}, ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
		case line[0] == '#':
			reason = line
		default:
			known[line] = reason
		}
	}
	return known
}

func TestAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no objects: %v", err)
	}
	rows := scheme.New()
	var a *api
	if *server != "" {
		a = theirs(t)
	} else {
		a = ours(t)
	}
	// What controllers would have made.
	a.ask("POST", "/api/v1/namespaces/default/serviceaccounts", jsonType, jsonType, []byte(`{"metadata":{"name":"default"}}`))
	known := differences(t)
	for _, file := range files {
		base := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(base, func(t *testing.T) {
			a.t = t
			got := play(a, rows, file)
			answers := strings.TrimSuffix(file, ".yaml") + ".answers"
			if *server != "" {
				if err := os.WriteFile(answers, []byte(strings.Join(got, "")), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			b, err := os.ReadFile(answers)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.SplitAfter(string(b), "\n")
			for i, g := range got {
				if 2*i+1 >= len(want) {
					t.Fatalf("no answer is recorded to %s", g)
				}
				what := strings.TrimSuffix(want[2*i], "\n")
				_, excused := known[base+": "+what]
				w := want[2*i] + want[2*i+1]
				if excused {
					if g == w {
						t.Errorf("%s: agrees, but is among the known differences", what)
					}
					continue
				}
				if g != w {
					t.Errorf("%sours:%supstream's:%s", want[2*i], strings.TrimPrefix(g, want[2*i]), strings.TrimPrefix(w, want[2*i]))
				}
			}
		})
	}
}
