package discovery

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clipper/internal/scheme"
)

// digest writes testdata/upstream.txt anew from a running upstream server that
// `kubectl proxy` makes reachable, such as http://127.0.0.1:8001.
var digest = flag.String("digest", "", "URL of an upstream server to take the digest of")

// resourceLines are what a server says of its resources, a line each.
func resourceLines(t *testing.T, base string, table *scheme.Table) string {
	t.Helper()
	var out strings.Builder
	for _, g := range table.Groups() {
		for _, v := range g.Versions {
			path := "/apis/" + g.Name + "/" + v
			if g.Name == "" {
				path = "/api/" + v
			}
			res, err := http.Get(base + path)
			if err != nil {
				t.Fatal(err)
			}
			var list metav1.APIResourceList
			err = json.NewDecoder(res.Body).Decode(&list)
			res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatal(path, res.Status, err)
			}
			for _, r := range list.APIResources {
				b, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				out.WriteString(path + " " + string(b) + "\n")
			}
		}
	}
	return out.String()
}

// stored are upstream's hashes of what it stores in an older version than ours,
// and ours.
var stored = strings.NewReplacer(
	"LYmCf+UMVdg=", "mHCkTKpUTrE=", // mutatingadmissionpolicies
	"90V5FRZZ3Zg=", "ZKgZT1uTmZ0=", // mutatingadmissionpolicybindings
	"jfWCUB31mvA=", "M5uH+AlWATY=", // customresourcedefinitions
)

// All resources, verbs, names and categories are upstream's, in its order.
func TestLikeUpstream(t *testing.T) {
	s, table := serve(t)
	file := filepath.Join("testdata", "upstream.txt")
	if *digest != "" {
		if err := os.WriteFile(file, []byte(resourceLines(t, *digest, table)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(stored.Replace(string(want)), "\n"), strings.Split(resourceLines(t, s.URL, table), "\n")); d != "" {
		t.Error(d)
	}
}
