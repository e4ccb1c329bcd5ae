package scheme

import "encoding/binary"

// protoMagic opens every protobuf encoding of a Kubernetes object.
const protoMagic = "k8s\x00"

// protoTail closes it: contentEncoding and contentType, both empty.
const protoTail = "\x1a\x00\x22\x00"

// Tags of protobuf fields 1 and 2, length-delimited.
const (
	field1 = 0x0a
	field2 = 0x12
)

// jsonHead is what the JSON of every object of the kind starts with, since
// TypeMeta is the first field of each kind's struct.
func jsonHead(apiVersion, kind string) string {
	return `{"kind":"` + kind + `","apiVersion":"` + apiVersion + `",`
}

// protoHead is the magic and the type in upstream's envelope, runtime.Unknown.
func protoHead(apiVersion, kind string) string {
	return string(appendProtoHead(nil, apiVersion, kind))
}

func appendProtoHead(b []byte, apiVersion, kind string) []byte {
	b = append(b, protoMagic...)
	b = append(b, field1)
	b = binary.AppendUvarint(b, uint64(bytesSize(len(apiVersion))+bytesSize(len(kind))))
	b = appendBytes(b, field1, apiVersion)
	return appendBytes(b, field2, kind)
}

// appendBytes appends one length-delimited field.
func appendBytes[B ~string | ~[]byte](b []byte, tag byte, v B) []byte {
	b = append(b, tag)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// bytesSize is the size of a length-delimited field of n bytes with its tag.
func bytesSize(n int) int { return 1 + uvarintSize(n) + n }

func uvarintSize(n int) int {
	size := 1
	for v := uint64(n); v >= 0x80; v >>= 7 {
		size++
	}
	return size
}
