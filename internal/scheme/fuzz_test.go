package scheme

import (
	"testing"
)

// No body, whatever it holds, may end in a panic; what decodes, encodes.
func FuzzDecode(f *testing.F) {
	table := New()
	pod := table.ByPath("", "v1", "pods").GroupVersionKind()
	for _, mt := range []MediaType{JSON, YAML, Protobuf} {
		b, err := Encode(nil, mt, plainPod())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, byte(mt))
	}
	f.Add([]byte("k8s\x00\x0a\x00\x12\x00"), byte(Protobuf))
	f.Add([]byte(`{"metadata":{"managedFields":[{"fieldsV1":{"f:a":{}}}]}}`), byte(JSON))
	f.Add([]byte("- &a [*a]"), byte(YAML))
	f.Fuzz(func(t *testing.T, body []byte, m byte) {
		mt := MediaType(m % 3)
		for _, v := range []Validation{Ignore, Warn, Strict} {
			obj, _, err := table.Decode(body, mt, pod, v)
			if err != nil {
				continue
			}
			if got := obj.GetObjectKind().GroupVersionKind(); got != pod {
				t.Fatalf("decoded a %v", got)
			}
			if _, err := EncodeProtobuf(nil, obj); err != nil {
				t.Fatal(err)
			}
			table.ByKind(pod).Default(obj)
		}
		if _, err := table.DecodeDeleteOptions(body, mt); err == nil {
			return
		}
		_, _ = ProtobufBody(body)
		_, _ = table.ByKind(pod).DecodeStored(body, 1)
	})
}
