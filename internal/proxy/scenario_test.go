package proxy

import (
	"bytes"

	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"clipper/internal/nft"
	"clipper/internal/nft/nettest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
)

func TestMain(m *testing.M) { os.Exit(nettest.Main(m)) }

var rewrite = flag.Bool("rewrite", false, "write the rulesets into the scenarios")

func config() Config {
	return Config{
		Informers: informers.NewSharedInformerFactory(fake.NewSimpleClientset(), 0),
		NodeName:  "node-1", NodeIPs: []netip.Addr{netip.MustParseAddr("192.168.77.2")},
		ClusterPodCIDR: netip.MustParsePrefix("10.244.0.0/16"),
		ServiceCIDR:    netip.MustParsePrefix("10.96.0.0/16"),
		Own:            []netip.Addr{netip.MustParseAddr("10.96.0.10")},
	}
}

// objects decodes documents of YAML.
func objects(t testing.TB, data []byte) []runtime.Object {
	t.Helper()
	var all []runtime.Object
	for _, doc := range bytes.Split(data, []byte("\n---\n")) {
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		o, _, err := scheme.Codecs.UniversalDeserializer().Decode(doc, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		switch o := o.(type) {
		case *corev1.Service:
			o.Namespace = "default"
		case *discoveryv1.EndpointSlice:
			o.Namespace = "default"
		}
		all = append(all, o)
	}
	return all
}

// note tells the proxy of an object.
func (p *Proxy) note(o runtime.Object, exists bool) {
	p.noteNode(o, exists)
	p.noteService(o, exists)
	p.noteSlice(o, exists)
}

var elements = regexp.MustCompile(`(?s)elements = \{ (.*?) \}`)

// ruleset lists the table, its elements sorted, without what every table has.
func ruleset(t testing.TB, all bool) string {
	t.Helper()
	out, err := exec.Command("nft", "list", "table", "ip", tableName).CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	text := elements.ReplaceAllStringFunc(string(out), func(s string) string {
		members := regexp.MustCompile(`,\s*`).Split(elements.FindStringSubmatch(s)[1], -1)
		slices.Sort(members)
		return "elements = {\n\t\t\t" + strings.Join(members, "\n\t\t\t") + "\n\t\t}"
	})
	if all {
		return text
	}
	var parts []string
	for _, part := range strings.Split(text, "\n\n") {
		part = strings.TrimSuffix(strings.TrimPrefix(part, "table ip "+tableName+" {\n"), "\n}\n")
		head, _, _ := strings.Cut(strings.TrimSpace(part), "\n")
		empty := (strings.HasPrefix(head, "map ") || strings.HasPrefix(head, "set ")) && !strings.Contains(part, "elements") && !strings.Contains(head, "/")
		static := strings.HasPrefix(head, "chain ") && !strings.Contains(head, "/") || strings.Contains(head, setNodeIPs)
		if !empty && !static {
			parts = append(parts, strings.ReplaceAll("\n"+part, "\n\t", "\n")[1:])
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "\n") + "\n"
}

// TestScenarios applies the objects of each file and compares the ruleset. A
// file holds several steps: "N.yaml" with what is added or changed, "N.delete"
// with what goes, and "N.ruleset".
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := open(t, config())
			for i, f := range ar.Files {
				switch filepath.Ext(f.Name) {
				case ".yaml", ".delete":
					for _, o := range objects(t, f.Data) {
						p.note(o, filepath.Ext(f.Name) == ".yaml")
					}
				case ".ruleset":
					if err := p.sync(); err != nil {
						t.Fatal(err)
					}
					got := ruleset(t, f.Name == "base.ruleset")
					if *rewrite {
						ar.Files[i].Data = []byte(got)
					} else if diff := cmp.Diff(string(f.Data), got); diff != "" {
						t.Errorf("%s (run with -rewrite to accept): %s", f.Name, diff)
					}
				}
			}
			if *rewrite {
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// open returns a proxy with a connection but no loop, for tests that sync.
func open(t testing.TB, cfg Config) *Proxy {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if p.conn, err = nft.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.conn.Close()
		if err := p.Remove(); err != nil {
			t.Error(err)
		}
		if out, err := exec.Command("nft", "list", "ruleset").Output(); err != nil || len(out) > 0 {
			t.Errorf("left behind: %s, %v", out, err)
		}
	})
	if err := p.sync(); err != nil {
		t.Fatal(err)
	}
	return p
}
