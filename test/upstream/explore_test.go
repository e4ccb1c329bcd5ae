package upstream

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"clipper/internal/scheme"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var explore = flag.String("explore", "", "write to this file where ours and the -server differ, for every field of every kind")

// TestExplore changes every field of every object to all that is known to be
// awkward for its type, asks both servers, and writes what is answered
// differently, sorted by how it differs. Its lines can be taken over as cases.
func TestExplore(t *testing.T) {
	if *explore == "" || *server == "" {
		t.Skip("no -explore and -server")
	}
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rows := scheme.New()
	both := [2]*api{ours(t), theirs(t)}
	for _, a := range both {
		a.ask("POST", "/api/v1/namespaces/default/serviceaccounts", jsonType, jsonType, []byte(`{"metadata":{"name":"default"}}`))
	}
	e := &explorer{enums: map[string][]string{}, found: map[string][]difference{}}
	for _, file := range files {
		for _, o := range read(t, rows, file) {
			if only := os.Getenv("ONLY"); only != "" && !regexp.MustCompile(only).MatchString(o.row.Kind) {
				continue
			}
			e.object(t, both, o)
			if err := os.WriteFile(*explore, []byte(e.report()), 0o644); err != nil { // so far: it takes long
				t.Fatal(err)
			}
		}
	}
}

type difference struct{ line, ours, theirs string }

type explorer struct {
	enums map[string][]string // of a package's named strings: what they may be
	seen  map[string]bool
	lines []string
	name  string
	verbs []string

	mu                sync.Mutex
	asked, unanswered int // by theirs, which says nothing to what it panics on
	found             map[string][]difference
}

func (e *explorer) object(t *testing.T, both [2]*api, o *object) {
	e.lines, e.seen, e.name = nil, map[string]bool{}, o.name
	kind := reflect.TypeOf(o.row.New()).Elem()
	e.verbs = []string{"create", "update"}
	for i := range kind.NumField() {
		f := kind.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "status" {
			if o.row.Subresource("status") == nil {
				continue
			}
			e.verbs = []string{"status"}
			e.walk(f.Type, o.tree[name], []string{name}, nil, 4)
			continue
		}
		if name == "metadata" && o.row.Kind != "ConfigMap" {
			f.Type = reflect.TypeFor[struct {
				Name         string            `json:"name"`
				GenerateName string            `json:"generateName"`
				Finalizers   []string          `json:"finalizers"`
				Annotations  map[string]string `json:"annotations"`
			}]() // the rest is alike for all
		}
		if name != "" {
			e.verbs = []string{"create", "update"}
			e.walk(f.Type, o.tree[name], []string{name}, nil, 4)
		}
	}
	// What another object in its place must say of the one that is there.
	e.verbs = []string{"put"}
	e.emit([]string{"metadata", "resourceVersion"}, nil, "", "0", "1", "x")
	e.emit([]string{"metadata", "uid"}, nil, "", "x")
	body, err := json.Marshal(o.tree)
	if err != nil {
		t.Fatal(err)
	}
	work := func(lines []string) {
		var wait sync.WaitGroup
		next := make(chan string)
		for range 6 {
			wait.Go(func() {
				for line := range next {
					var said [2]string
					for i, a := range both {
						said[i] = e.ask(t, a, o, line)
					}
					e.note(o.row.Kind, line, said)
				}
			})
		}
		for _, l := range lines {
			next <- l
		}
		close(next)
		wait.Wait()
	}
	creates := slices.DeleteFunc(slices.Clone(e.lines), func(l string) bool { return !strings.HasPrefix(l, "create ") })
	work(creates)
	for _, a := range both {
		if code, b := a.ask("POST", o.path, jsonType, jsonType, body); code != http.StatusCreated {
			t.Errorf("create %s: %d %s", o.name, code, b)
		}
	}
	e.settle(t, both, o)
	work(slices.DeleteFunc(e.lines, func(l string) bool { return strings.HasPrefix(l, "create ") }))
	for _, a := range both {
		a.remove(o.path + "/" + o.name)
	}
	t.Logf("%s %s: %d asked", o.row.Kind, o.name, e.asked)
}

// settle gives our object the status that a controller within their server
// gave theirs, where there is one, so that both are asked about the same.
func (e *explorer) settle(t *testing.T, both [2]*api, o *object) {
	switch o.row.Group {
	case "apiextensions.k8s.io", "apiregistration.k8s.io": // whose controllers are there
	default:
		return
	}
	both[1].ask("GET", o.path+"?watch=1&timeoutSeconds=8&fieldSelector=metadata.name%3D"+o.name, jsonType, jsonType, nil) // until it is done
	var tree map[string]any
	if _, b := both[1].ask("GET", o.path+"/"+o.name, jsonType, jsonType, nil); json.Unmarshal(b, &tree) != nil {
		t.Fatalf("no %s there", o.name)
	}
	b, err := json.Marshal(map[string]any{"status": tree["status"]})
	if err != nil {
		t.Fatal(err)
	}
	if code, b := both[0].ask("PATCH", o.path+"/"+o.name+"/status", "application/merge-patch+json", jsonType, b); code != http.StatusOK {
		t.Logf("status of %s: %d %s", o.name, code, b)
	}
}

func (e *explorer) ask(t *testing.T, a *api, o *object, line string) string {
	c := parse(t, line)
	method, path, media, body := "PATCH", o.path+"/"+o.name+"?dryRun=All&fieldValidation=Strict", "application/json-patch+json", c.patch
	switch c.verb {
	case "create":
		method, path, media, body = "POST", o.path+"?dryRun=All&fieldValidation=Strict", jsonType, patched(t, o.tree, c)
	case "put":
		method, path, media, body = "PUT", o.path+"/"+o.name+"?dryRun=All&fieldValidation=Strict", jsonType, patched(t, o.tree, c)
	case "status":
		path = o.path + "/" + o.name + "/status?dryRun=All&fieldValidation=Strict"
	}
	r, err := http.NewRequest(method, a.base+path, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", media)
	r.Header.Set("Accept", jsonType)
	r.Header.Set("User-Agent", "test")
	return a.told(r)
}

// note keeps what differs, by how it does.
func (e *explorer) note(kind, line string, said [2]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	if said[0] == said[1] {
		return
	}
	parts := strings.SplitN(line, " ", 4)
	class := "4 other texts"
	if strings.HasSuffix(said[1], unanswered) {
		e.unanswered++
		return
	}
	good := func(s string) bool { return s[0] == '2' || s[0] == '{' }
	switch {
	case good(said[0]) && !good(said[1]):
		class = "0 wrongly accepted"
	case !good(said[0]) && good(said[1]):
		class = "1 wrongly refused"
	case good(said[0]):
		class = "2 other objects"
		if a, _, _ := strings.Cut(said[0], " warnings: "); strings.HasPrefix(said[1], a+" warnings: ") || said[1] == a {
			class = "5 other warnings"
		}
	case said[0][:3] != said[1][:3]:
		class = "3 other codes"
	default:
		if !slices.Equal(causes(said[0]), causes(said[1])) {
			class = "3 other causes"
		}
	}
	key := fmt.Sprintf("%s\x00%s %s %s", class, kind, parts[0], regexp.MustCompile(`/\d+`).ReplaceAllString(parts[2], "/N"))
	e.found[key] = append(e.found[key], difference{line, said[0], said[1]})
}

// causes are the fields and types that an answer names.
func causes(said string) (all []string) {
	for part := range strings.SplitSeq(said, " && ") {
		p := strings.SplitN(part, ": ", 3)
		all = append(all, strings.Join(p[:min(2, len(p))], " "))
	}
	return all
}

func (e *explorer) report() string {
	var b strings.Builder
	counts, kinds := map[string]int{}, map[string]int{}
	for key, all := range e.found {
		class, where, _ := strings.Cut(key, "\x00")
		kind, _, _ := strings.Cut(where, " ")
		counts[class] += len(all)
		kinds[kind] += len(all)
	}
	fmt.Fprintf(&b, "# %d asked, %d not answered there, different: %v\n# by kind: %v\n\n", e.asked, e.unanswered, counts, kinds)
	b.WriteString(e.byCause())
	for _, key := range slices.Sorted(maps.Keys(e.found)) {
		class, where, _ := strings.Cut(key, "\x00")
		fmt.Fprintf(&b, "\n# %s: %s (%d)\n", class, where, len(e.found[key]))
		all := e.found[key]
		slices.SortFunc(all, func(a, b difference) int { return strings.Compare(a.line, b.line) })
		for _, d := range all[:min(len(all), 8)] {
			fmt.Fprintf(&b, "%s\n\tours:   %s\n\ttheirs: %s\n", d.line, d.ours, d.theirs)
		}
	}
	return b.String()
}

// byCause tells what only one of the servers says, whatever it says it of: the
// most frequent first, each with how often, the kinds, and a line that shows it.
func (e *explorer) byCause() string {
	type cause struct {
		text, line string
		kinds      map[string]bool
		times      int
	}
	all := map[string]*cause{}
	for key, list := range e.found {
		class, where, _ := strings.Cut(key, "\x00")
		kind, _, _ := strings.Cut(where, " ")
		for _, d := range list {
			text := class[:1] + " ours: " + onlyIn(d.ours, d.theirs) + "\n\ttheirs: " + onlyIn(d.theirs, d.ours)
			c := all[text]
			if c == nil {
				c = &cause{text: text, line: d.line, kinds: map[string]bool{}}
				all[text] = c
			}
			c.kinds[kind] = true
			c.times++
		}
	}
	causes := slices.Collect(maps.Values(all))
	slices.SortFunc(causes, func(a, b *cause) int {
		return cmp.Or(cmp.Compare(b.times, a.times), cmp.Compare(a.text, b.text))
	})
	var b strings.Builder
	for _, c := range causes {
		fmt.Fprintf(&b, "%d times, of %s, as %s\n\t%s\n", c.times, strings.Join(slices.Sorted(maps.Keys(c.kinds)), " "), c.line, c.text)
	}
	return b.String()
}

// What tells one cause from another is not the values that are at hand.
var atHand = regexp.MustCompile(`"[^"]*"|\[\d+\]|\b\d+\b`)

// onlyIn returns the parts of one answer that the other does not have.
func onlyIn(said, other string) string {
	if good := said[0] == '{' || said[0] == '2'; good {
		if other[0] != '{' && other[0] != '2' {
			return "accepted"
		}
		return "another object"
	}
	theirs := strings.Split(other, " && ")
	var only []string
	for part := range strings.SplitSeq(said, " && ") {
		if !slices.Contains(theirs, part) {
			part, _, _ = strings.Cut(part, " warnings: ")
			if _, rest, ok := strings.Cut(part, "spec."); ok {
				part = "..." + rest
			}
			only = append(only, atHand.ReplaceAllString(part, "_"))
		}
	}
	slices.Sort(only)
	return strings.Join(slices.Compact(only), " && ")
}

// emit adds a line that sets a field, wrapped in what has to be made around it.
func (e *explorer) emit(pointer []string, wrap func(any) any, values ...any) {
	for _, v := range values {
		text := "-"
		if v != gone {
			if wrap != nil {
				v = wrap(v)
			}
			b, err := json.Marshal(v)
			if err != nil {
				panic(err)
			}
			text = string(b)
		}
		escaped := make([]string, len(pointer))
		for i, p := range pointer {
			escaped[i] = strings.NewReplacer("~", "~0", "/", "~1").Replace(p)
		}
		for _, verb := range e.verbs {
			line := verb + " " + e.name + " /" + strings.Join(escaped, "/") + " " + text
			if !e.seen[line] {
				e.seen[line] = true
				e.lines = append(e.lines, line)
			}
		}
	}
}

// gone stands for a field taken away.
var gone any = new(struct{ int })

var long = strings.Repeat("a", 300)

// awkward are the values of the types that are not told by their kind.
var awkward = map[reflect.Type][]any{
	reflect.TypeFor[metav1.Time]():          {"x", "2026-01-01T00:00:00Z", "", nil},
	reflect.TypeFor[metav1.MicroTime]():     {"x", "2026-01-01T00:00:00.000000Z", nil},
	reflect.TypeFor[metav1.Duration]():      {"x", "1s", "-1s"},
	reflect.TypeFor[resource.Quantity]():    {"0", "-1", "1", "1500m", "1Ei", "x", "", nil},
	reflect.TypeFor[intstr.IntOrString]():   {0, -1, 1, 70000, "", "x", "50%", "150%", "-5%", "A_b", "http"},
	reflect.TypeFor[runtime.RawExtension](): {nil, map[string]any{}, map[string]any{"a": "b"}, "x"},
	reflect.TypeFor[[]byte]():               {"", "YQ==", "!"},
	reflect.TypeFor[metav1.FieldsV1]():      {map[string]any{}},
}

func (e *explorer) walk(t reflect.Type, at any, pointer []string, wrap func(any) any, depth int) {
	there := wrap == nil && at != nil
	if _, item := strconv.Atoi(pointer[len(pointer)-1]); there && item != nil {
		e.emit(pointer, nil, gone)
	}
	optional := t.Kind() == reflect.Pointer
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if optional && there {
		e.emit(pointer, wrap, nil)
	}
	if values, ok := awkward[t]; ok {
		e.emit(pointer, wrap, values...)
		return
	}
	switch t.Kind() {
	case reflect.String:
		e.emit(pointer, wrap, "", "x", "A_b", "a b", "1", "a/b", "a.b", "10.0.0.1", "010.0.0.1", "/a/../b", "10.0.0.0/8", "10.0.0.1/8", long, 1)
		for _, v := range e.constants(t) {
			e.emit(pointer, wrap, v)
		}
	case reflect.Bool:
		e.emit(pointer, wrap, true, false, "x")
	case reflect.Int32, reflect.Int64, reflect.Int:
		e.emit(pointer, wrap, 0, -1, 1, 2, 101, 70000, 2147483647, "x")
		if t.Kind() == reflect.Int64 {
			e.emit(pointer, wrap, int64(1)<<40)
		}
	case reflect.Map:
		if t.Elem().Kind() == reflect.String {
			e.emit(pointer, wrap, map[string]any{}, map[string]any{"": ""}, map[string]any{"a b": "x"}, map[string]any{"a/b/c": "x"},
				map[string]any{"a": "b c"}, map[string]any{"a": long}, map[string]any{long: "a"}, map[string]any{"a": "b"}, map[string]any{"example.com/A_b": "-"})
			return
		}
		if _, ok := awkward[t.Elem()]; ok {
			for _, v := range awkward[t.Elem()] {
				for _, k := range []string{"cpu", "memory", "storage", "x", "example.com/x", "a b", "pods", ""} {
					e.emit(pointer, wrap, map[string]any{k: v})
				}
			}
			return
		}
		e.emit(pointer, wrap, map[string]any{})
		if depth > 0 {
			e.walk(t.Elem(), nil, pointer, wrapped(wrap, func(v any) any { return map[string]any{"a": v} }), depth-1)
		}
	case reflect.Slice:
		e.emit(pointer, wrap, []any{})
		list, _ := at.([]any)
		if there && len(list) > 0 {
			e.emit(pointer, nil, append(slices.Clone(list), list[0]), append(slices.Clone(list), map[string]any{}))
			for i := range list[:min(2, len(list))] {
				e.walk(t.Elem(), list[i], append(slices.Clone(pointer), strconv.Itoa(i)), nil, depth)
			}
			return
		}
		if t.Elem().Kind() == reflect.String {
			e.emit(pointer, wrap, []any{""}, []any{"a", "a"}, []any{"a b"}, []any{"10.0.0.1"}, []any{"10.0.0.0/8"}, []any{"fd00::1"}, []any{"a/b"}, []any{long}, []any{"*"}, []any{"a", "*"})
			for _, v := range e.constants(t.Elem()) {
				e.emit(pointer, wrap, []any{v})
			}
			return
		}
		e.emit(pointer, wrap, []any{map[string]any{}}, []any{map[string]any{}, map[string]any{}})
		if depth > 0 {
			e.walk(t.Elem(), nil, pointer, wrapped(wrap, func(v any) any { return []any{v} }), depth-1)
		}
	case reflect.Struct:
		e.emit(pointer, wrap, map[string]any{})
		if t.Name() == "PodSpec" && pointer[0] != "spec" || t.Name() == "PodSpec" && len(pointer) > 1 {
			depth = min(depth, 1)
		}
		if depth == 0 {
			return
		}
		tree, _ := at.(map[string]any)
		e.fields(t, tree, pointer, wrap, there, depth)
		e.emit(append(slices.Clone(pointer), "unknown"), wrap, 1)
	case reflect.Interface:
		e.emit(pointer, wrap, nil, "x", map[string]any{})
	}
}

func (e *explorer) fields(t reflect.Type, tree map[string]any, pointer []string, wrap func(any) any, there bool, depth int) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "" && (strings.Contains(options, "inline") || f.Anonymous):
			e.fields(f.Type, tree, pointer, wrap, there, depth)
		case name == "" || name == "-" || name == "managedFields":
		case there:
			next := append(slices.Clone(pointer), name)
			if tree[name] == nil && f.Type.Kind() != reflect.String {
				e.walk(f.Type, nil, next, func(v any) any { return v }, depth-1)
			} else {
				e.walk(f.Type, tree[name], next, nil, depth)
			}
		default:
			e.walk(f.Type, nil, pointer, wrapped(wrap, func(v any) any { return map[string]any{name: v} }), depth-1)
		}
	}
}

func wrapped(outer, inner func(any) any) func(any) any {
	if outer == nil {
		return inner
	}
	return func(v any) any { return outer(inner(v)) }
}

// constants returns the values that a named string is declared to have.
func (e *explorer) constants(t reflect.Type) []string {
	if t.PkgPath() == "" {
		return nil
	}
	if _, ok := e.enums[t.PkgPath()+".*"]; !ok {
		e.enums[t.PkgPath()+".*"] = nil
		dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", t.PkgPath()).Output()
		if err != nil {
			return nil
		}
		files, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "*.go"))
		for _, file := range files {
			f, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
			if err != nil {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				v, ok := n.(*ast.ValueSpec)
				if !ok || len(v.Values) != 1 {
					return true
				}
				kind, ok := v.Type.(*ast.Ident)
				value, ok2 := v.Values[0].(*ast.BasicLit)
				if ok && ok2 && value.Kind == gotoken.STRING {
					if s, err := strconv.Unquote(value.Value); err == nil {
						e.enums[t.PkgPath()+"."+kind.Name] = append(e.enums[t.PkgPath()+"."+kind.Name], s)
					}
				}
				return true
			})
		}
	}
	return e.enums[t.PkgPath()+"."+t.Name()]
}
