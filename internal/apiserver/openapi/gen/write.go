package main

import (
	"bytes"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"

	"clipper/internal/scheme"
)

// version is that of Kubernetes which the documents describe, as upstream's say it.
const version = "1.36"

// entry is where a document is in the archives.
type entry struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
	// JSON and Proto are where the document begins and how long it is.
	JSON  [2]int `json:"json"`
	Proto [2]int `json:"proto"`
}

// write lays out dir: json.zst and proto.zst, which hold all documents one
// behind another, and index.json, which tells where each is and its hash.
// Together they are a fifth of what they are one by one, for they say much the
// same.
func write(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var (
		index            []entry
		asJSON, asBinary bytes.Buffer
	)
	add := func(name string, doc any, parse func([]byte) (proto.Message, error)) error {
		b, err := json.Marshal(doc)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		m, err := parse(b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		pb, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		index = append(index, entry{
			Name: name, Hash: strings.ToUpper(fmt.Sprintf("%x", sha512.Sum512(b))),
			JSON: [2]int{asJSON.Len(), len(b)}, Proto: [2]int{asBinary.Len(), len(pb)},
		})
		asJSON.Write(b)
		asBinary.Write(pb)
		return nil
	}
	t := scheme.New()
	all, kinds := documents(t), kindsOf(t)
	for _, d := range all {
		doc, err := documentV3(d, kinds)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		if err := add("v3/"+d.name, doc, func(b []byte) (proto.Message, error) { return openapi_v3.ParseDocument(b) }); err != nil {
			return err
		}
	}
	// The largest and least asked for is last, for archives are read from the front.
	doc, err := documentV2(all, kinds)
	if err != nil {
		return fmt.Errorf("version 2: %w", err)
	}
	if err := add("v2", doc, func(b []byte) (proto.Message, error) { return openapi_v2.ParseDocument(b) }); err != nil {
		return err
	}
	b, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	for name, b := range map[string][]byte{"json.zst": asJSON.Bytes(), "proto.zst": asBinary.Bytes()} {
		if err := pack(filepath.Join(dir, name), b); err != nil {
			return err
		}
	}
	return nil
}

// pack writes a file compressed, with a window that a reader can afford.
func pack(path string, b []byte) error {
	cmd := exec.Command("zstd", "-19", "--zstd=wlog=23", "--quiet", "--stdout")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(b), os.Stderr
	packed, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("zstd: %w", err)
	}
	return os.WriteFile(path, packed, 0o644)
}
