package auth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

const (
	encryptionKeyFile = "encryption.key"
	encryptionKeySize = 32
)

// EncryptionKey returns the key, of 32 bytes, that Secrets are encrypted with
// at rest, from dir, where it is made if there is none. Without this file the
// Secrets in the store are lost: it belongs into every backup. It fails if the
// file is damaged or can be read by others.
func EncryptionKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, encryptionKeyFile)
	data, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, encryptionKeySize)
		rand.Read(key) // never fails
		text := base64.StdEncoding.AppendEncode(nil, key)
		if err := writeFiles(dir, []file{{encryptionKeyFile, append(text, '\n')}}); err != nil {
			return nil, fmt.Errorf("encryption key: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return nil, fmt.Errorf("encryption key: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(data)))
	if err != nil || len(key) != encryptionKeySize {
		return nil, fmt.Errorf("encryption key: %s does not hold %d bytes in base64: bring it back from a backup", path, encryptionKeySize)
	}
	return key, nil
}
