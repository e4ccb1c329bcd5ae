package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What differs by nature, and what stands for it.
var natural = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), "TIME"},
	{regexp.MustCompile(`[0-9a-f]{64}`), "HASH"},
	{regexp.MustCompile(`\b(10|192\.168|172|100)(\.\d+){2,3}\b`), "ADDRESS"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ms|µs|s)\b`), "DURATION"},
	{regexp.MustCompile(`\bcron-\d{8}\b`), "cron-MINUTE"},
	{regexp.MustCompile(`back-off (\d+[ms])+`), "back-off DURATION"},
	{regexp.MustCompile(`-----BEGIN[^*]*-----END CERTIFICATE-----\n?`), "CERTIFICATE"},
}

// random is what a server adds to generated names.
var random = regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{5}\b`)

// flatten returns a line for each field of the objects, sorted by object.
// Objects that have no name of their own come under that of what they are of.
func flatten(resource string, items []unstructured.Unstructured, node string) []string {
	var lines []string
	text := func(s string) string {
		s = strings.ReplaceAll(s, node, "NODE")
		for _, n := range natural {
			s = n.what.ReplaceAllString(s, n.as)
		}
		return strings.ReplaceAll(random.ReplaceAllString(s, "-RANDOM"), "\n", `\n`)
	}
	for _, o := range items {
		name := o.GetName()
		if resource == "events" {
			who, _, _ := unstructured.NestedString(o.Object, "involvedObject", "name")
			kind, _, _ := unstructured.NestedString(o.Object, "involvedObject", "kind")
			reason, _, _ := unstructured.NestedString(o.Object, "reason")
			message, _, _ := unstructured.NestedString(o.Object, "message")
			name = kind + "/" + who + " " + reason + " " + message
			for _, f := range []string{"metadata.name", "message", "count"} {
				unstructured.RemoveNestedField(o.Object, strings.Split(f, ".")...)
			}
		}
		unstructured.RemoveNestedField(o.Object, "metadata", "managedFields")
		unstructured.RemoveNestedField(o.Object, "metadata", "resourceVersion")
		unstructured.RemoveNestedField(o.Object, "involvedObject", "resourceVersion")
		prefix := resource + " " + text(name) + "  "
		var walk func(path string, v any)
		walk = func(path string, v any) {
			switch v := v.(type) {
			case map[string]any:
				if len(v) == 0 {
					lines = append(lines, prefix+path+" = {}")
				}
				for _, k := range slices.Sorted(maps.Keys(v)) {
					walk(path+"."+k, v[k])
				}
			case []any:
				if len(v) == 0 {
					lines = append(lines, prefix+path+" = []")
				}
				for i, e := range v {
					walk(fmt.Sprintf("%s[%s]", path, cmp.Or(nameOf(e), fmt.Sprint(i))), e)
				}
			case string:
				lines = append(lines, prefix+path+" = "+text(v))
			default:
				lines = append(lines, prefix+path+" = "+fmt.Sprint(v))
			}
		}
		walk("", o.Object)
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// nameOf returns what an element of a list is known by, "" if it has no such field.
func nameOf(e any) string {
	m, _ := e.(map[string]any)
	for _, k := range []string{"type", "name", "containerPort"} {
		if s, ok := m[k]; ok {
			return random.ReplaceAllString(fmt.Sprint(s), "-RANDOM")
		}
	}
	return ""
}

// diff prints the lines that only one of the files has, in order.
func diff(before, after string, w io.Writer) error {
	var only, there [2]map[string]bool
	for i, name := range []string{before, after} {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		only[i], there[i] = map[string]bool{}, map[string]bool{}
		for line := range strings.Lines(string(text)) {
			only[i][strings.TrimSuffix(line, "\n")] = true
			object, _, _ := strings.Cut(line, "  ")
			there[i][object] = true
		}
	}
	// What many objects have in common is told once.
	objects := map[string][]string{}
	for i, mark := range []string{"-", "+"} {
		for line := range only[i] {
			if only[1-i][line] {
				continue
			}
			object, field, _ := strings.Cut(line, "  ")
			if !there[1-i][object] {
				objects[object+"\x00"+mark] = nil
				continue
			}
			resource, name, _ := strings.Cut(object, " ")
			key := resource + " " + field + "\x00" + mark
			objects[key] = append(objects[key], name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		field, mark, _ := strings.Cut(key, "\x00")
		slices.Sort(objects[key])
		names := objects[key]
		more := ""
		if len(names) > 4 {
			names, more = names[:4], fmt.Sprintf(" and %d more", len(names)-4)
		}
		if len(names) == 0 {
			more = "the whole object"
		}
		if _, err := fmt.Fprintf(w, "%s %s\n        %s%s\n", mark, field, strings.Join(names, " | "), more); err != nil {
			return err
		}
	}
	return nil
}
