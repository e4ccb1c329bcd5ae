package controllertest

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"clipper/internal/controller"
)

var rewrite = flag.Bool("rewrite", false, "write what came out into the scenarios")

// Start builds the controllers under test.
type Start func(api *API, c controller.Config) []controller.Controller

// Run plays every testdata/*.txtar of the calling package. Files of an archive
// are played in order; each is one step, told by its name's ending:
//
//	.yaml    objects put into the API as they are
//	.merge   "resource ns/name-pattern" on the first line, a merge patch below
//	.delete  lines of "resource ns/name-pattern [Foreground|Orphan] [grace=N]"
//	.wait    a duration that passes
//	.show    "resource [ns/name-pattern]" lines
//	.out     what the controllers wrote since the last .out, sorted, and the
//	         objects of the .show before it
//
// The controllers start after the first step.
func Run(t *testing.T, start Start) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			play(t, file, start)
		})
	}
}

func play(t *testing.T, file string, start Start) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := false
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		defer func() { cancel(); done.Wait() }()

		api := NewAPI()
		factory := informers.NewSharedInformerFactory(api, 0)
		defer factory.Shutdown()
		defer cancel()
		controllers := start(api, controller.Config{
			Client: api, Informers: factory, Clock: clock.RealClock{},
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Events: api.events,
		})
		show := ""
		for i, f := range archive.Files {
			if strings.HasSuffix(f.Name, ".out") {
				got := output(t, api, show)
				show = ""
				if want := string(f.Data); got != want {
					if !*rewrite {
						t.Errorf("%s: %s differs\n--- want\n%s--- got\n%s", file, f.Name, want, got)
					}
					archive.Files[i].Data = []byte(got)
					changed = true
				}
				continue
			}
			if strings.HasSuffix(f.Name, ".show") {
				show = string(f.Data)
				continue
			}
			if err := step(api, f); err != nil {
				t.Fatalf("%s: %s: %v", file, f.Name, err)
			}
			if i == 0 {
				factory.StartWithContext(ctx)
				for _, c := range controllers {
					done.Go(func() {
						if err := c.Run(ctx); err != nil {
							t.Errorf("%s: %v", c.Name(), err)
						}
					})
				}
			}
			synctest.Wait()
		}
	})
	if changed && *rewrite {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func step(api *API, f txtar.File) error {
	switch path.Ext(f.Name) {
	case ".yaml":
		return eachObject(f.Data, api.Put)
	case ".wait":
		d, err := time.ParseDuration(strings.TrimSpace(string(f.Data)))
		time.Sleep(d)
		return err
	case ".merge":
		head, body, _ := bytes.Cut(f.Data, []byte("\n"))
		patch, err := yaml.YAMLToJSON(body)
		if err != nil {
			return err
		}
		return api.each(string(head), func(gvr schema.GroupVersionResource, o metav1.Object) error {
			merged, err := merge(o.(runtime.Object), patch)
			if err != nil {
				return err
			}
			return api.Put(merged)
		})
	case ".delete":
		for line := range strings.Lines(string(f.Data)) {
			words := strings.Fields(line)
			var opts metav1.DeleteOptions
			for _, w := range words[2:] {
				if n, ok := strings.CutPrefix(w, "grace="); ok {
					var g int64
					if _, err := fmt.Sscan(n, &g); err != nil {
						return err
					}
					opts.GracePeriodSeconds = &g
				} else {
					p := metav1.DeletionPropagation(w)
					opts.PropagationPolicy = &p
				}
			}
			err := api.each(strings.Join(words[:2], " "), func(gvr schema.GroupVersionResource, o metav1.Object) error {
				api.mu.Lock()
				defer api.mu.Unlock()
				return api.delete(gvr, o.GetNamespace(), o.GetName(), opts)
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("unknown kind of step")
}

func merge(obj runtime.Object, patch []byte) (runtime.Object, error) {
	var doc, change map[string]any
	b, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(patch, &change); err != nil {
		return nil, err
	}
	mergeMaps(doc, change)
	if b, err = json.Marshal(doc); err != nil {
		return nil, err
	}
	out := obj.DeepCopyObject()
	if err := runtime.SetZeroValue(out); err != nil {
		return nil, err
	}
	return out, json.Unmarshal(b, out)
}

func mergeMaps(dst, src map[string]any) {
	for k, v := range src {
		sub, isMap := v.(map[string]any)
		old, wasMap := dst[k].(map[string]any)
		switch {
		case v == nil:
			delete(dst, k)
		case isMap && wasMap:
			mergeMaps(old, sub)
		default:
			dst[k] = v
		}
	}
}

func eachObject(data []byte, f func(runtime.Object) error) error {
	for doc := range strings.SplitSeq(string(data), "\n---\n") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(doc), nil, nil)
		if err != nil {
			return err
		}
		if err := f(obj); err != nil {
			return err
		}
	}
	return nil
}

// each calls f with the objects that "resource [ns/name-pattern]" names.
func (a *API) each(what string, f func(schema.GroupVersionResource, metav1.Object) error) error {
	words := strings.Fields(what)
	pattern := "*"
	if len(words) > 1 {
		pattern = words[1]
	}
	gvr, gvk, err := resourceNamed(words[0])
	if err != nil {
		return err
	}
	list, err := a.Tracker().List(gvr, gvk, "")
	if err != nil {
		return err
	}
	objs, err := meta.ExtractList(list)
	if err != nil {
		return err
	}
	slices.SortFunc(objs, func(x, y runtime.Object) int { return strings.Compare(name(x), name(y)) })
	for _, obj := range objs {
		full := name(obj)
		if ok, err := path.Match(pattern, full); err != nil {
			return err
		} else if !ok && pattern != "*" {
			continue
		}
		if err := f(gvr, obj.(metav1.Object)); err != nil {
			return fmt.Errorf("%s: %w", full, err)
		}
	}
	return nil
}

func name(obj runtime.Object) string {
	o := obj.(metav1.Object)
	return strings.TrimPrefix(types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}.String(), "/")
}

func resourceNamed(plural string) (schema.GroupVersionResource, schema.GroupVersionKind, error) {
	for gvk := range scheme.Scheme.AllKnownTypes() {
		if gvk.Version != "v1" || strings.HasSuffix(gvk.Kind, "List") {
			continue
		}
		gvr, _ := meta.UnsafeGuessKindToResource(gvk)
		if gvr.Resource == plural && (plural != "events" || gvk.Group == "") {
			return gvr, gvk, nil
		}
	}
	return schema.GroupVersionResource{}, schema.GroupVersionKind{}, fmt.Errorf("no resource %q", plural)
}

func output(t *testing.T, api *API, show string) string {
	lines := api.Took()
	// How often the same is written may depend on how goroutines interleave.
	slices.Sort(lines)
	lines = slices.Compact(lines)
	var out strings.Builder
	for _, l := range lines {
		fmt.Fprintln(&out, l)
	}
	for line := range strings.Lines(show) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		err := api.each(line, func(gvr schema.GroupVersionResource, o metav1.Object) error {
			obj := o.(runtime.Object).DeepCopyObject()
			gvk, _, err := kindOf(obj)
			if err != nil {
				return err
			}
			obj.GetObjectKind().SetGroupVersionKind(gvk)
			obj.(metav1.Object).SetManagedFields(nil)
			obj.(metav1.Object).SetResourceVersion("")
			b, err := yaml.Marshal(obj)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, "---\n%s", b)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// events is a controller.Events that notes events among the writes.
func (a *API) events(component string) record.EventRecorder { return &recorder{a} }

type recorder struct{ api *API }

func (r *recorder) Event(obj runtime.Object, kind, reason, message string) {
	r.api.mu.Lock()
	defer r.api.mu.Unlock()
	what, object := "?", "?"
	if gvk, _, err := kindOf(obj); err == nil {
		what, object = strings.ToLower(gvk.Kind), name(obj)
	}
	r.api.note("event %s %s %s %s: %s", kind, reason, what, object, message)
}

func (r *recorder) Eventf(obj runtime.Object, kind, reason, format string, args ...any) {
	r.Event(obj, kind, reason, fmt.Sprintf(format, args...))
}

func (r *recorder) AnnotatedEventf(obj runtime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	r.Eventf(obj, kind, reason, format, args...)
}
