package upstream

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestRequests makes requests one after the other and compares what is answered
// with what upstream answered: a test of what is no field of a kind's. A line of
// testdata/requests/THEME.cases is a request:
//
//	METHOD PATH CONTENT-TYPE ACCEPT BODY
//
// where "-" is none and \n in a body a line's end. What a file makes it takes
// away again.
func TestRequests(t *testing.T) {
	files, err := filepath.Glob("testdata/requests/*.cases")
	if err != nil || len(files) == 0 {
		t.Fatalf("no requests: %v", err)
	}
	a := theirs(t)
	if *server == "" {
		a = ours(t)
	}
	a.ask("POST", "/api/v1/namespaces/default/serviceaccounts", jsonType, jsonType, []byte(`{"metadata":{"name":"default"}}`))
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".cases"), func(t *testing.T) {
			a.t = t
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(string(b)) {
				if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
					got = append(got, line+"\n\t"+a.request(line)+"\n")
				}
			}
			answers := strings.TrimSuffix(file, ".cases") + ".answers"
			if *server != "" {
				if err := os.WriteFile(answers, []byte(strings.Join(got, "")), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if b, err = os.ReadFile(answers); err != nil {
				t.Fatal(err)
			}
			want := strings.SplitAfter(string(b), "\n")
			for i, g := range got {
				if 2*i+1 >= len(want) {
					t.Fatalf("no answer is recorded to %s", g)
				}
				if w := want[2*i] + want[2*i+1]; g != w {
					t.Errorf("%sours:%supstream's:%s", want[2*i], strings.TrimPrefix(g, want[2*i]), want[2*i+1])
				}
			}
		})
	}
}

// request makes the request of a line and returns what is answered, on one line.
func (a *api) request(line string) string {
	parts := strings.SplitN(line, " ", 5)
	if len(parts) < 4 {
		a.t.Fatalf("%q", line)
	}
	body := ""
	if len(parts) == 5 {
		body = strings.ReplaceAll(parts[4], `\n`, "\n")
	}
	r, err := http.NewRequest(parts[0], a.base+parts[1], strings.NewReader(body))
	if err != nil {
		a.t.Fatalf("%q: %v", line, err)
	}
	r.Header.Set("User-Agent", "test")
	for name, value := range map[string]string{"Content-Type": parts[2], "Accept": parts[3]} {
		if value != "-" {
			r.Header.Set(name, value)
		}
	}
	res := a.do(r)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if r.Method == http.MethodHead {
		b = nil
	}
	text := fmt.Sprintf("%d %s", res.StatusCode, res.Header.Get("Content-Type"))
	if allow := res.Header.Get("Allow"); allow != "" {
		text += " allow " + allow
	}
	if warnings := res.Header.Values("Warning"); len(warnings) > 0 {
		slices.Sort(warnings)
		text += " warnings: " + strings.Join(warnings, " ")
	}
	return masked(text + " " + told(b))
}

// told writes an answer's body on one line: what it is of a Status, and an
// object with who owns its fields.
func told(b []byte) string {
	var s metav1.Status
	if err := json.Unmarshal(b, &s); err == nil && s.Kind == "Status" && s.Status == metav1.StatusFailure {
		text := fmt.Sprintf("%s: %s", s.Reason, s.Message)
		if s.Details != nil {
			for _, c := range s.Details.Causes {
				text += fmt.Sprintf(" && %s: %s: %s", c.Field, c.Type, c.Message)
			}
		}
		return strings.ReplaceAll(text, "\n", `\n`)
	}
	var o map[string]any
	if err := json.Unmarshal(b, &o); err != nil {
		text := strings.ReplaceAll(string(b), "\n", `\n`)
		return text[:min(len(text), 300)]
	}
	forget(o)
	if b, err := json.Marshal(o); err == nil {
		return string(b)
	}
	return string(b)
}

// forget takes what is never the same twice out of an object and those in it.
func forget(v any) {
	switch v := v.(type) {
	case map[string]any:
		if entries, ok := v["managedFields"].([]any); ok {
			// They come by their times, of which some are the same by chance.
			slices.SortFunc(entries, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		for _, own := range []string{"uid", "resourceVersion", "creationTimestamp", "time", "continue", "description"} {
			if _, text := v[own].(string); text {
				delete(v, own)
			}
		}
		for _, in := range v {
			forget(in)
		}
	case []any:
		for _, in := range v {
			forget(in)
		}
	}
}
