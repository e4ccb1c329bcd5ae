package scheme

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// A body is small beside what it may cost: bodies of up to three megabytes that
// were made to take all the time, memory or stack there is are decoded or
// refused, within a bound that a plain body of that size comes near, too.
const mostAllocated = 768 << 20

var (
	podKind        = schema.GroupVersionKind{Version: "v1", Kind: "Pod"}
	definitionKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}
)

// delimited returns a length-delimited field of a protobuf message.
func delimited(number uint64, v string) string {
	b := binary.AppendUvarint(nil, number<<3|2)
	return string(binary.AppendUvarint(b, uint64(len(v)))) + v
}

func inEnvelope(kind schema.GroupVersionKind, raw string) string {
	return protoMagic + delimited(1, delimited(1, kind.GroupVersion().String())+delimited(2, kind.Kind)) + delimited(2, raw)
}

// nestedSchema is a CustomResourceDefinition whose schema holds, in its `not`,
// schemas to a depth.
func nestedSchema(depth int) string {
	sizes, n := make([]int, depth), 0
	for i := range sizes {
		sizes[i] = n
		n += 2 + len(binary.AppendUvarint(nil, uint64(n)))
	}
	b := make([]byte, 0, n)
	for i := depth - 1; i >= 0; i-- {
		b = binary.AppendUvarint(binary.AppendUvarint(b, 28<<3|2), uint64(sizes[i]))
	}
	return inEnvelope(definitionKind, delimited(2, delimited(7, delimited(4, delimited(1, string(b))))))
}

func limitedPod(cpu string) string {
	return inEnvelope(podKind, delimited(2, delimited(2, delimited(8, delimited(1, delimited(1, "cpu")+delimited(2, delimited(1, cpu)))))))
}

func aliases() string {
	s := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'n'; c++ {
		s += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9))
	}
	return s
}

func TestHostileBodies(t *testing.T) {
	table := New()
	pod := func(cpu string) string {
		return `{"spec":{"containers":[{"resources":{"limits":{"cpu":` + cpu + `}}}]}}`
	}
	nested := func(open, close string, n int) string {
		return `{"spec":{"versions":[{"schema":{"openAPIV3Schema":` + strings.Repeat(open, n) + "{}" + strings.Repeat(close, n) + "}}]}}"
	}
	for _, x := range []struct {
		name, body string
		media      MediaType
		kind       schema.GroupVersionKind
		ok         bool
	}{
		{"arrays", strings.Repeat("[", 3<<20), JSON, podKind, false},
		{"objects", strings.Repeat(`{"a":`, 600000), JSON, podKind, false},
		{"a long number", `{"spec":{"priority":1` + strings.Repeat("0", 3<<20) + `}}`, JSON, podKind, false},
		{"a great number", `{"spec":{"priority":1e999999999}}`, JSON, podKind, false},
		{"a key many times", `{` + strings.Repeat(`"a":1,`, 500000) + `"a":1}`, JSON, podKind, true},
		{"unknown fields", `{"spec":{` + strings.Repeat(`"u":{},`, 400000) + `"a":1}}`, JSON, podKind, true},
		{"fields of managers", `{"metadata":{"managedFields":[{"fieldsV1":` + strings.Repeat(`{"f:a":`, 400000) + `}]}}`, JSON, podKind, false},

		{"a small quantity", pod(`"1e-999999999"`), JSON, podKind, false},
		{"a great quantity", pod(`"1e999999999999"`), JSON, podKind, false},
		{"a great quantity, as a number", pod(`1E+999999999`), JSON, podKind, false},
		{"a great quantity before its like", pod(`"1e999999999","cpu":"1"`), JSON, podKind, false},
		{"a long quantity", pod(`"` + strings.Repeat("9", 3<<20) + `"`), JSON, podKind, false},
		{"a quantity near zero", pod(`"0.` + strings.Repeat("0", 3<<20) + `1"`), JSON, podKind, false},
		{"a great quantity", "spec: {containers: [{resources: {limits: {cpu: 1e999999999}}}]}", YAML, podKind, false},
		{"a hidden quantity", `spec: {containers: [{resources: {limits: {cpu: "1\x65-999999999"}}}]}`, YAML, podKind, false},
		{"a great quantity", limitedPod("1e-999999999"), Protobuf, podKind, false},
		{"a long quantity", limitedPod(strings.Repeat("9", 1<<20)), Protobuf, podKind, false},
		{"no quantity", `{"metadata":{"labels":{"commit":"7e1234567"}}}`, JSON, podKind, true},
		{"no great quantity", pod(`"1e003"`), JSON, podKind, true},
		{"no great quantity", limitedPod("0012e12"), Protobuf, podKind, true},

		{"aliases", aliases(), YAML, podKind, false},
		{"flow", strings.Repeat("[", 3<<20), YAML, podKind, false},
		{"lists", strings.Repeat("- ", 1<<20), YAML, podKind, false},
		{"maps", strings.Repeat("{a: ", 1<<19), YAML, podKind, false},
		{"keys", strings.Repeat("? ", 1<<20), YAML, podKind, false},
		{"anchors", strings.Repeat("- &a x\n", 400000), YAML, podKind, false},

		{"schemas", nestedSchema(500000), Protobuf, definitionKind, false},
		{"schemas", nestedSchema(100), Protobuf, definitionKind, true},
		{"schemas", nested(`{"not":`, "}", 400000), JSON, definitionKind, false},
		{"schemas", nested(`{"items":`, "}", 9000), JSON, definitionKind, false},
		{"schemas", nested(`{"items":`, "}", 100), JSON, definitionKind, true},
	} {
		for _, v := range []Validation{Ignore, Warn} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := table.Decode([]byte(x.body), x.media, x.kind, v)
			runtime.ReadMemStats(&after)
			if (err == nil) != x.ok {
				t.Errorf("%s in %s: %v", x.name, x.media, err)
			}
			if err != nil && len(err.Error()) > longestError+1000 {
				t.Errorf("%s in %s: an answer of %d bytes", x.name, x.media, len(err.Error()))
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > mostAllocated {
				t.Errorf("%s in %s: took %d MB", x.name, x.media, n>>20)
			}
		}
	}
}

func TestHostilePatches(t *testing.T) {
	table := New()
	cpu := func(q string) string {
		return `{"spec":{"containers":[{"name":"web","resources":{"limits":{"cpu":"` + q + `"}}}]}}`
	}
	for _, x := range []struct {
		name, body string
		kind       types.PatchType
		ok         bool
	}{
		{"depth", strings.Repeat(`{"a":`, 9000) + `"` + strings.Repeat("x", 1<<20) + `"` + strings.Repeat("}", 9000), types.MergePatchType, false},
		{"depth", strings.Repeat(`{"a":`, 9000) + `1` + strings.Repeat("}", 9000), types.StrategicMergePatchType, true},
		{"keys", `{"metadata":{"labels":{` + strings.Repeat(`"a":"b",`, 300000) + `"a":"b"}}}`, types.StrategicMergePatchType, true},
		{"a great index", `[{"op":"add","path":"/spec/containers/999999999","value":{}}]`, types.JSONPatchType, false},
		{"copies", `[{"op":"add","path":"/metadata/labels/x","value":"` + strings.Repeat("x", 1000) + `"}` +
			strings.Repeat(`,{"op":"copy","from":"/metadata","path":"/metadata/labels/y"}`, 100) + "]", types.JSONPatchType, false},
		{"operations", "[" + strings.Repeat(`{"op":"add","path":"/spec/tolerations/-","value":{}},`, 9999) + `{"op":"test","path":"/x"}]`, types.JSONPatchType, false},
		{"a great quantity", cpu("1e-999999999"), types.StrategicMergePatchType, false},
		{"a hidden quantity", cpu(`1\u0065-999999999`), types.StrategicMergePatchType, false},
		{"a great quantity", cpu("1e-999999999"), types.MergePatchType, false},
		{"a great quantity", `[{"op":"add","path":"/spec/containers/0/resources","value":{"limits":{"cpu":"1e-999999999"}}}]`, types.JSONPatchType, false},
		{"a plain quantity", cpu("100m"), types.StrategicMergePatchType, true},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := table.PatchKind(podKind, plainPod(), x.kind, []byte(x.body), Warn)
		runtime.ReadMemStats(&after)
		if (err == nil) != x.ok {
			t.Errorf("%s in %s: %v", x.name, x.kind, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > mostAllocated {
			t.Errorf("%s in %s: took %d MB", x.name, x.kind, n>>20)
		}
	}
}
