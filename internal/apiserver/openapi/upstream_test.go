package openapi

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// digest writes testdata/upstream.txt anew from a running upstream server that
// `kubectl proxy` makes reachable, such as http://127.0.0.1:8001.
var digest = flag.String("digest", "", "URL of an upstream server to take the digest of")

// parts are the hashes of everything that the documents say: of version 2 by
// path and definition, of version 3 by document, which is made of the same.
func parts(t *testing.T, base string) map[string]string {
	t.Helper()
	get := func(path string) (out map[string]any) {
		t.Helper()
		res, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(path, res.Status, err)
		}
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatal(path, err)
		}
		return out
	}
	out := map[string]string{}
	add := func(name string, v any) {
		b, err := json.Marshal(v) // sorted
		if err != nil {
			t.Fatal(err)
		}
		out[name] = fmt.Sprintf("%x", sha256.Sum256(b))[:12]
	}
	for section, v := range get("/openapi/v2") {
		of, ok := v.(map[string]any)
		if !ok {
			add("v2 "+section, v)
			continue
		}
		for name, v := range of {
			add("v2 "+section+" "+name, v)
		}
	}
	for name := range get("/openapi/v3")["paths"].(map[string]any) {
		add("v3 "+name, get("/openapi/v3/"+name))
	}
	return out
}

// What the documents say is what upstream's say: every path, parameter,
// description and extension.
func TestLikeUpstream(t *testing.T) {
	file := filepath.Join("testdata", "upstream.txt")
	if *digest != "" {
		var lines []string
		for name, hash := range parts(t, *digest) {
			lines = append(lines, hash+" "+name+"\n")
		}
		slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[13:], b[13:]) })
		if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, _, _ := serve(t)
	ours := parts(t, s.URL)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		hash, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch got, ok := ours[name]; {
		case !ok:
			t.Errorf("%s is missing", name)
		case got != hash:
			t.Errorf("%s differs", name)
		}
		delete(ours, name)
	}
	for name := range ours {
		t.Errorf("%s is not upstream's", name)
	}
}
