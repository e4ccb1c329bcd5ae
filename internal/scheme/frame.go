package scheme

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"clipper/internal/prefetch"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Lists and watch events are framed around bytes that exist already: what
// EncodeJSON or EncodeProtobuf gave for each object.

// WriteListJSON writes a list of the row's kind. Each item is an object's whole
// JSON; as upstream's do, the items of a list go without their kind. w should
// be buffered.
func (r *Resource) WriteListJSON(w io.Writer, meta *metav1.ListMeta, items [][]byte) error {
	return writeListJSON(w, r.apiVersion, r.Kind+"List", r.jsonHead, meta, items)
}

func writeListJSON(w io.Writer, apiVersion, kind, itemHead string, meta *metav1.ListMeta, items [][]byte) error {
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
	for i, item := range items {
		bringAfter(items, i)
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
// whole protobuf encoding. w should be buffered.
func (r *Resource) WriteListProtobuf(w io.Writer, meta *metav1.ListMeta, items [][]byte) error {
	return writeListProtobuf(w, r.apiVersion, r.Kind+"List", meta, items)
}

// WriteListOf writes a list of any kind, such as PartialObjectMetadataList, in
// JSON or protobuf; the items stay as they are.
func WriteListOf(w io.Writer, mt MediaType, apiVersion, kind string, meta *metav1.ListMeta, items [][]byte) error {
	if mt == Protobuf {
		return writeListProtobuf(w, apiVersion, kind, meta, items)
	}
	return writeListJSON(w, apiVersion, kind, "", meta, items)
}

// writeListProtobuf cuts each item out of its envelope: what it holds there, with
// its tag and length, is what the list holds. All envelopes of a kind are alike,
// so the lengths tell how much that is, and each item is looked at once.
func writeListProtobuf(w io.Writer, apiVersion, kind string, meta *metav1.ListMeta, items [][]byte) error {
	m, err := meta.Marshal()
	if err != nil {
		return fmt.Errorf("encode list metadata: %w", err)
	}
	var head []byte // of every item
	total := bytesSize(len(m))
	for _, item := range items {
		if head == nil {
			if head = envelopeHead(item); head == nil {
				return fmt.Errorf("list %s: an item that begins with %.40q is not in protobuf", kind, item)
			}
		}
		total += len(item) - len(head) - len(protoTail)
	}
	b := make([]byte, 0, 64+len(kind)+len(apiVersion)+len(m))
	b = appendProtoHead(b, apiVersion, kind)
	b = append(b, field2)
	b = binary.AppendUvarint(b, uint64(total))
	b = appendBytes(b, field1, m)
	if _, err := w.Write(b); err != nil {
		return err
	}
	for i, item := range items {
		bringAfter(items, i)
		rest, ok := bytes.CutPrefix(item, head)
		if !ok || !bytes.HasSuffix(rest, []byte(protoTail)) {
			return fmt.Errorf("list %s: an item that begins with %.40q is of another kind", kind, item)
		}
		if _, err := w.Write(rest[:len(rest)-len(protoTail)]); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, protoTail)
	return err
}

// bringAfter brings an item near that is a few after the i-th.
func bringAfter(items [][]byte, i int) {
	const ahead = 6
	if i+ahead < len(items) {
		prefetch.Bytes(items[i+ahead])
	}
}

// envelopeHead returns what goes before the object in its envelope, the magic
// number and the type; nil if that is not what b begins with.
func envelopeHead(b []byte) []byte {
	at := len(protoMagic)
	if !bytes.HasPrefix(b, []byte(protoMagic)) || len(b) <= at || b[at] != field1 {
		return nil
	}
	size, n := binary.Uvarint(b[at+1:])
	if at += 1 + n; n <= 0 || size >= uint64(len(b)-at) || b[at+int(size)] != field2 {
		return nil
	}
	return b[:at+int(size)]
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
