package scheme

func jsonHead(apiVersion, kind string) string {
	return `{"kind":"` + kind + `","apiVersion":"` + apiVersion + `",`
}

// protoHead is the magic and the type of upstream's envelope, runtime.Unknown:
// field 1 is {1: apiVersion, 2: kind}, both shorter than 128 bytes.
func protoHead(apiVersion, kind string) string {
	typeMeta := "\x0a" + string(rune(len(apiVersion))) + apiVersion + "\x12" + string(rune(len(kind))) + kind
	return protoMagic + "\x0a" + string(rune(len(typeMeta))) + typeMeta
}

// protoMagic opens every protobuf encoding of a Kubernetes object.
const protoMagic = "k8s\x00"
