// Package lint holds the rules of which package may import which, with a
// reason for each, and checks them.
//
// A package imports only packages of lower levels; two packages of the same
// level never import each other, except a parent its own sub-packages and those
// one another.
package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

const module = "clipper/"

// levels maps the beginning of a package's path to its level. The longest
// match counts.
var levels = map[string]int{
	"internal/run":      1,
	"internal/config":   1,
	"internal/memory":   1,
	"internal/trace":    1,
	"internal/measure":  1,
	"internal/scheme":   1,
	"internal/cel":      1,
	"internal/nft":      1,
	"internal/lint":     1,
	"internal/pack":     1,
	"internal/thread":   0, // namespaces of a thread; nft, at 1, is tested with it
	"internal/prefetch": 0, // a hint to the processor; scheme, at 1, gives it

	"internal/store":     2,
	"internal/auth":      2,
	"internal/admission": 2,
	"internal/validate":  2,

	"internal/apiserver": 3,
	"internal/client":    3,

	"internal/informer": 4,
	"internal/join":     4,

	"internal/scheduler":  5,
	"internal/controller": 5,
	"internal/kubelet":    5,
	"internal/network":    5,
	"internal/proxy":      5,
	"internal/dns":        5,
	"internal/cri":        5,

	"internal/system": 6,
	"internal/cli":    6,

	"cmd":  7,
	"test": 8,
}

// A Ban forbids imports that start with Path, except in packages that start
// with one of Except.
type Ban struct {
	Path   string
	Except []string
	Reason string
	// Exact bans the one package and none below it.
	Exact bool
}

var bans = []Ban{
	{Path: "k8s.io/kubernetes", Reason: "Clipper is written anew; upstream's own code is never part of it"},
	{Path: "k8s.io/apiserver/pkg/server", Reason: "the generic server is upstream's; ours is internal/apiserver"},
	{Path: "k8s.io/apiserver/pkg/registry", Reason: "the generic registry is upstream's; ours is internal/apiserver"},
	{Path: "k8s.io/apiserver/pkg/storage", Reason: "storage and cacher are upstream's; ours are internal/store and internal/apiserver/cache"},
	{Path: "k8s.io/apiserver/pkg/endpoints", Reason: "the endpoints' installer is upstream's; ours is internal/apiserver"},
	{Path: "k8s.io/apiserver/pkg/admission", Reason: "it brings audit and the endpoints' requests; policies' expressions are compiled by internal/cel"},
	{Path: "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation", Reason: "it brings proxies and the tracing SDK; schemas are judged by internal/validate"},
	{Path: "github.com/google/cel-go", Except: []string{"internal/cel"}, Reason: "only internal/cel makes environments"},
	{Path: "k8s.io/apiserver/pkg/cel/environment", Except: []string{"internal/cel"}, Reason: "only internal/cel makes environments"},
	{Path: "k8s.io/dynamic-resource-allocation", Except: []string{"internal/cel"}, Reason: "its controllers are upstream's; of it there are only the devices' expressions"},
	{Path: "k8s.io/kubectl", Except: []string{"cmd/clipper-kubectl"}, Reason: "kubectl is a program of its own, so that a server does not hold it in memory"},
	{Path: "k8s.io/cli-runtime", Except: []string{"cmd/clipper-kubectl"}, Reason: "kubectl is a program of its own, so that a server does not hold it in memory"},
	{Path: "k8s.io/component-base/cli", Except: []string{"cmd/clipper-kubectl"}, Reason: "global flags"},
	{Path: "k8s.io/client-go/kubernetes/fake", Except: []string{"internal/controller/controllertest", "test"}, Reason: "a fake belongs in tests"},
	{Path: "github.com/opencontainers/runc", Except: []string{"cmd/clipper-supervisor"}, Reason: "needs cgo, which clipper itself does without"},
	{Path: "github.com/cockroachdb/pebble", Except: []string{"internal/store/pebble"}, Reason: "only the backend knows its engine"},
	{Path: "go.etcd.io/etcd", Except: []string{"internal/store/etcd"}, Reason: "only the backend knows its engine"},
	{Path: "github.com/miekg/dns", Except: []string{"internal/dns"}, Reason: "only the DNS server speaks DNS"},
	{Path: "github.com/vishvananda/netlink", Except: []string{"internal/network", "internal/proxy", "internal/nft", "internal/cri", "internal/dns", "internal/system", "internal/cli/local", "test/leftover"}, Reason: "links and routes belong to the network"},
	{Path: "io/ioutil", Reason: "io and os have it"},
	{Path: "log", Reason: "log/slog", Exact: true},
}

// A Weight is what a program must not hold, by whatever way it would come in.
type Weight struct{ Path, Reason string }

var weights = []Weight{
	{"k8s.io/kubernetes", "upstream's own code"},
	{"k8s.io/apiserver/pkg/server", "the generic server, its start-up work and its memory"},
	{"k8s.io/apiserver/pkg/registry", "the generic registry"},
	{"k8s.io/apiserver/pkg/storage", "storage and cacher"},
	{"k8s.io/apiserver/pkg/endpoints", "the endpoints' installer"},
	{"k8s.io/apiserver/pkg/admission", "upstream's chain of plugins, with audit"},
	{"k8s.io/apiextensions-apiserver/pkg/client", "another set of clients and informers"},
	{"k8s.io/apiextensions-apiserver/pkg/controller", "upstream's controllers"},
	{"go.opentelemetry.io/otel/sdk", "spans are sent without it"},
	{"sigs.k8s.io/apiserver-network-proxy", "a proxy that nobody starts"},
}

// Heavy returns a sentence for each package that weighs too much.
func Heavy(packages []Package) []string {
	var found []string
	for _, p := range packages {
		for _, w := range weights {
			if within(p.ImportPath, w.Path) {
				found = append(found, fmt.Sprintf("%s is linked: %s", p.ImportPath, w.Reason))
			}
		}
	}
	return found
}

// Package is what `go list -json` says of one.
type Package struct {
	ImportPath string
	Imports    []string
}

// List returns the packages that match patterns, as seen from dir; "-deps" is a
// pattern too.
func List(dir string, patterns ...string) ([]Package, error) {
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports"}, patterns...)...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, fmt.Errorf("go list: %s", exit.Stderr)
		}
		return nil, err
	}
	var all []Package
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p Package
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

// Check returns a sentence for each import that breaks a rule.
func Check(packages []Package) []string {
	var broken []string
	for _, p := range packages {
		from, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue
		}
		area, level := locate(from)
		if area == "" {
			broken = append(broken, fmt.Sprintf("%s is at no level; add it to internal/lint and ARCHITECTURE.md", from))
			continue
		}
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, module); ours {
				toArea, toLevel := locate(to)
				if toArea != area && toLevel >= level {
					broken = append(broken, fmt.Sprintf("%s (level %d) imports %s (level %d): a package imports only lower levels", from, level, to, toLevel))
				}
				continue
			}
			for _, b := range bans {
				if (imp == b.Path || !b.Exact && within(imp, b.Path)) && !withinAny(from, b.Except) {
					broken = append(broken, fmt.Sprintf("%s imports %s: %s", from, imp, b.Reason))
				}
			}
		}
	}
	return broken
}

// locate returns the longest entry of levels that holds a package.
func locate(path string) (area string, level int) {
	for a, l := range levels {
		if within(path, a) && len(a) > len(area) {
			area, level = a, l
		}
	}
	return area, level
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func withinAny(path string, dirs []string) bool {
	for _, d := range dirs {
		if within(path, d) {
			return true
		}
	}
	return false
}
