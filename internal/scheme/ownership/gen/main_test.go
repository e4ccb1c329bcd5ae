package main

import (
	"os"
	"testing"
)

func TestRulesAreOfThisVersion(t *testing.T) {
	have, err := os.ReadFile("../rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != text() {
		t.Error("rules.txt is not what the schema says: make generate")
	}
}
