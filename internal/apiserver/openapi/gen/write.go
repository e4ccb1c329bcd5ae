package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"clipper/internal/scheme"
)

// version is that of Kubernetes which the documents describe.
const version = "v1.36"

// write lays out dir: v2 and v3/api/v1, v3/apis/apps/v1 and so on, each as
// .json.gz and .pb.gz, and index.json with the hash of each.
func write(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	t := scheme.New()
	index := map[string]string{}
	v2, err := json.Marshal(documentV2(t))
	if err != nil {
		return err
	}
	parsed, err := openapi_v2.ParseDocument(v2)
	if err != nil {
		return fmt.Errorf("version 2: %w", err)
	}
	if err := writeBoth(dir, "v2", v2, parsed, index); err != nil {
		return err
	}
	for _, g := range t.Groups() {
		for _, v := range g.Versions {
			name := "v3/apis/" + g.Name + "/" + v
			if g.Name == "" {
				name = "v3/api/" + v
			}
			doc, err := json.Marshal(documentV3(t, schema.GroupVersion{Group: g.Name, Version: v}))
			if err != nil {
				return err
			}
			parsed, err := openapi_v3.ParseDocument(doc)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := writeBoth(dir, name, doc, parsed, index); err != nil {
				return err
			}
		}
	}
	b, err := json.MarshalIndent(index, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "index.json"), append(b, '\n'), 0o644)
}

func writeBoth(dir, name string, doc []byte, parsed proto.Message, index map[string]string) error {
	index[name] = strings.ToUpper(fmt.Sprintf("%x", sha512.Sum512(doc)))
	pb, err := proto.MarshalOptions{Deterministic: true}.Marshal(parsed)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	for ext, b := range map[string][]byte{".json.gz": doc, ".pb.gz": pb} {
		var buf bytes.Buffer
		w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(path+ext, buf.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
