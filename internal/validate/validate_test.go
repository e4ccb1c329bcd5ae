package validate

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"clipper/internal/cel"
	"clipper/internal/scheme"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

var rewrite = flag.Bool("rewrite", false, "write what the rules say into testdata")

// TestRules reads testdata/KIND.txt: the group and plural, an object that is
// right, and cases after a line of dashes. A case is a line "# WRITE: title",
// where WRITE is create, update or a subresource; lines "path: value" of what
// differs from the object; and "> " lines of what the rules say, warnings with
// "> Warning: ". What differs in the old object, too, has "old " before it.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	table := scheme.New()
	rules := New(table, cel.NewCompiler())
	cases := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, rest, ok := strings.Cut(string(text), "\n---\n")
			if !ok {
				t.Fatal("no cases")
			}
			name, base, _ := strings.Cut(head, "\n")
			group, plural, _ := strings.Cut(name, " ")
			if group == "core" {
				group = ""
			}
			row := table.ByPath(group, "v1", plural)
			if row == nil {
				t.Fatalf("no kind %q", name)
			}
			var out bytes.Buffer
			out.WriteString(head + "\n---\n")
			for i, c := range strings.Split("\n"+rest, "\n# ")[1:] {
				cases++
				if i > 0 {
					out.WriteString("\n")
				}
				title, body, _ := strings.Cut(c, "\n")
				out.WriteString("# " + title + "\n")
				t.Run(strings.ReplaceAll(title, " ", "_"), func(t *testing.T) {
					var changes, want []string
					for _, line := range strings.Split(body, "\n") {
						switch {
						case strings.HasPrefix(line, "> "):
							want = append(want, line)
						case line != "":
							changes = append(changes, line)
							out.WriteString(line + "\n")
						}
					}
					got := run(t, rules, row, base, title, changes)
					for _, line := range got {
						out.WriteString(line + "\n")
					}
					if !*rewrite && strings.Join(got, "\n") != strings.Join(want, "\n") {
						t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				})
			}
			if *rewrite {
				if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if cases < 250 {
		t.Errorf("only %d cases", cases)
	}
}

func run(t *testing.T, rules *Rules, row *scheme.Resource, base, title string, changes []string) []string {
	t.Helper()
	write, _, _ := strings.Cut(title, ":")
	make := func(old bool) runtime.Object {
		var tree any = map[string]any{}
		if err := yaml.Unmarshal([]byte(base), &tree); err != nil {
			t.Fatal(err)
		}
		for _, line := range changes {
			change, both := strings.CutPrefix(line, "old ")
			if old && !both {
				continue
			}
			path, value, ok := strings.Cut(change, ": ")
			if !ok {
				t.Fatalf("no value: %q", line)
			}
			var v any
			if err := yaml.Unmarshal([]byte(value), &v); err != nil {
				t.Fatal(err)
			}
			tree = set(tree, strings.Split(path, "."), v)
		}
		text, err := yaml.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		obj, _, err := rules.table.Decode(text, scheme.YAML, row.GroupVersionKind(), scheme.Strict)
		if err != nil {
			t.Fatal(err)
		}
		row.Default(obj)
		m := obj.(metav1.Object)
		if row.Namespaced && m.GetNamespace() == "" {
			m.SetNamespace("default")
		}
		if write != "create" {
			m.SetResourceVersion("1")
			m.SetUID("u")
		}
		if row.ToStored != nil {
			if obj, err = row.ToStored(obj); err != nil {
				t.Fatal(err)
			}
		}
		return obj
	}
	var (
		errs     field.ErrorList
		warnings []string
	)
	switch write {
	case "create":
		errs, warnings = rules.Create(row.Stored, make(false))
	case "update":
		errs, warnings = rules.Update(row.Stored, make(false), make(true))
	default:
		errs, warnings = rules.UpdateSubresource(row.Stored, write, make(false), make(true))
	}
	var got []string
	for _, err := range errs {
		// The differences of specs are many lines, and are not all ours.
		text, _, _ := strings.Cut(err.Error(), "\n")
		got = append(got, "> "+strings.TrimRight(text, " "))
	}
	for _, w := range warnings {
		got = append(got, "> Warning: "+w)
	}
	return got
}

// set changes a value of a tree; null takes it away. A dot in a key is written
// as two commas.
func set(tree any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	key := strings.ReplaceAll(path[0], ",,", ".")
	if n, err := strconv.Atoi(key); err == nil {
		list, _ := tree.([]any)
		for len(list) <= n {
			list = append(list, nil)
		}
		list[n] = set(list[n], path[1:], value)
		return list
	}
	m, _ := tree.(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	if v := set(m[key], path[1:], value); v == nil {
		delete(m, key)
	} else {
		m[key] = v
	}
	return m
}
