package scheme

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Lists and watch events are framed around bytes that exist already: what
// EncodeJSON or EncodeProtobuf gave for each object.

// WriteListJSON writes a list of the row's kind. Each item is an object's whole
// JSON; as upstream's do, the items of a list go without their kind. w should
// be buffered.
func (r *Resource) WriteListJSON(w io.Writer, meta *metav1.ListMeta, items iter.Seq[[]byte]) error {
	return writeListJSON(w, r.apiVersion, r.Kind+"List", r.jsonHead, meta, items)
}

func writeListJSON(w io.Writer, apiVersion, kind, itemHead string, meta *metav1.ListMeta, items iter.Seq[[]byte]) error {
	m, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("encode list metadata: %w", err)
	}
	head := make([]byte, 0, 64+len(kind)+len(apiVersion)+len(m))
	head = append(head, jsonHead(apiVersion, kind)...)
	head = append(head, `"metadata":`...)
	head = append(head, m...)
	head = append(head, `,"items":[`...)
	if _, err := w.Write(head); err != nil {
		return err
	}
	// What goes before an item: with its kind left in, or cut off.
	next, nextBare := "", "{"
	for item := range items {
		open := next
		if rest, ok := bytes.CutPrefix(item, []byte(itemHead)); ok && itemHead != "" {
			open, item = nextBare, rest
		}
		if _, err := io.WriteString(w, open); err != nil {
			return err
		}
		if _, err := w.Write(item); err != nil {
			return err
		}
		next, nextBare = ",", ",{"
	}
	_, err = io.WriteString(w, "]}\n")
	return err
}

// WriteListProtobuf writes a list of the row's kind. Each item is an object's
// whole protobuf encoding. items is ranged over twice and must give the same
// both times. w should be buffered.
func (r *Resource) WriteListProtobuf(w io.Writer, meta *metav1.ListMeta, items iter.Seq[[]byte]) error {
	return writeListProtobuf(w, r.apiVersion, r.Kind+"List", meta, items)
}

// WriteListOf writes a list of any kind, such as PartialObjectMetadataList, in
// JSON or protobuf; the items stay as they are.
func WriteListOf(w io.Writer, mt MediaType, apiVersion, kind string, meta *metav1.ListMeta, items iter.Seq[[]byte]) error {
	if mt == Protobuf {
		return writeListProtobuf(w, apiVersion, kind, meta, items)
	}
	return writeListJSON(w, apiVersion, kind, "", meta, items)
}

func writeListProtobuf(w io.Writer, apiVersion, kind string, meta *metav1.ListMeta, items iter.Seq[[]byte]) error {
	m, err := meta.Marshal()
	if err != nil {
		return fmt.Errorf("encode list metadata: %w", err)
	}
	total := bytesSize(len(m))
	for item := range items {
		raw, err := ProtobufBody(item)
		if err != nil {
			return err
		}
		total += bytesSize(len(raw))
	}
	b := make([]byte, 0, 64+len(kind)+len(apiVersion)+len(m))
	b = appendProtoHead(b, apiVersion, kind)
	b = append(b, field2)
	b = binary.AppendUvarint(b, uint64(total))
	b = appendBytes(b, field1, m)
	if _, err := w.Write(b); err != nil {
		return err
	}
	for item := range items {
		raw, err := ProtobufBody(item)
		if err != nil {
			return err
		}
		b = binary.AppendUvarint(append(b[:0], field2), uint64(len(raw)))
		if _, err := w.Write(b); err != nil {
			return err
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, protoTail)
	return err
}

// ProtobufBody returns the object's own message within its envelope; it
// aliases b.
func ProtobufBody(b []byte) ([]byte, error) {
	// The type comes first and is short: skip over it without parsing.
	if len(b) > 6 && string(b[:4]) == protoMagic && b[4] == field1 && b[5] < 0x80 && len(b) > 6+int(b[5]) && b[6+b[5]] == field2 {
		at := 7 + int(b[5])
		if size, n := binary.Uvarint(b[at:]); n > 0 && size <= uint64(len(b)-at-n) {
			return b[at+n : at+n+int(size)], nil
		}
	}
	env, err := openEnvelope(b)
	return env.raw, err
}

// AppendEventJSON appends a watch event about an object's JSON, with the line
// end that ends the frame.
func AppendEventJSON(dst []byte, t watch.EventType, object []byte) []byte {
	dst = slices.Grow(dst, len(t)+len(object)+24)
	dst = append(dst, `{"type":"`...)
	dst = append(dst, t...)
	dst = append(dst, `","object":`...)
	dst = append(dst, object...)
	return append(dst, "}\n"...)
}

// AppendEventProtobuf appends a watch event about an object's protobuf
// encoding in the framing of application/vnd.kubernetes.protobuf;stream=watch:
// four bytes of length, then a meta.k8s.io/v1 WatchEvent without an envelope.
func AppendEventProtobuf(dst []byte, t watch.EventType, object []byte) []byte {
	raw := bytesSize(len(object))
	size := bytesSize(len(t)) + bytesSize(raw)
	dst = slices.Grow(dst, 4+size)
	dst = binary.BigEndian.AppendUint32(dst, uint32(size))
	dst = appendBytes(dst, field1, string(t))
	dst = append(dst, field2)
	dst = binary.AppendUvarint(dst, uint64(raw))
	return appendBytes(dst, field1, object)
}
