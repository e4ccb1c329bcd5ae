package apiserver_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A manifest with a field that is not known and two that come twice, by every
// verb: upstream's e2e tests and kubectl read these texts.
func TestFieldValidation(t *testing.T) {
	r := start(t).raw(t, "admin", "system:masters")
	const (
		path = "/apis/apps/v1/namespaces/default/deployments"
		body = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"NAME","labels":{"app":"d"}},"spec":{
			"replicas":1,"replicas":2,"foo":"bar","selector":{"matchLabels":{"app":"d"}},"template":{"metadata":{"labels":{"app":"d"}},
			"spec":{"containers":[{"name":"c","image":"i","imagePullPolicy":"Always","imagePullPolicy":"Never","unknownNested":1}]}}}}`
		yamlBody = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, labels: {app: d}}
spec:
  replicas: 1
  replicas: 2
  foo: bar
  selector: {matchLabels: {app: d}}
  template: {metadata: {labels: {app: d}}, spec: {containers: [{name: c, image: i}]}}
`
		jsonPatch = `[{"op":"add","path":"/spec/foo","value":1,"value":2},{"op":"replace","path":"/spec/replicas","value":2}]`
		merge     = `{"spec":{"replicas":1,"replicas":2,"foo":"bar"}}`
	)
	jsonSays := []string{`unknown field "spec.template.spec.containers[0].unknownNested"`, `duplicate field "spec.template.spec.containers[0].imagePullPolicy"`,
		`duplicate field "spec.replicas"`, `unknown field "spec.foo"`}
	for _, d := range []string{"PUT-json", "PUT-yaml", "PATCH-json-patch+json", "PATCH-merge-patch+json", "PATCH-strategic-merge-patch+json"} {
		clean := strings.NewReplacer(`"replicas":1,`, "", `"foo":"bar",`, "", `"imagePullPolicy":"Always",`, "", `,"unknownNested":1`, "", "NAME", strings.ToLower(strings.ReplaceAll(d, "+", "."))).Replace(body)
		if res, answer := r.do("POST", path, clean, "Content-Type", "application/json"); res.StatusCode != http.StatusCreated {
			t.Fatal(answer)
		}
	}
	for _, c := range []struct {
		method, media, body string
		says                []string
		refusal             string
	}{
		{"POST", "json", body, jsonSays, `Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: `},
		{"POST", "yaml", yamlBody, []string{`key "replicas" already set in map`, `unknown field "spec.foo"`}, `Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: `},
		{"PUT", "json", body, jsonSays, `Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: `},
		{"PUT", "yaml", yamlBody, []string{`key "replicas" already set in map`, `unknown field "spec.foo"`}, `Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: `},
		{"PATCH", "json-patch+json", jsonPatch, []string{`json patch duplicate field "[0].value"`, `unknown field "spec.foo"`}, `strict decoding error: `},
		{"PATCH", "merge-patch+json", merge, []string{`duplicate field "spec.replicas"`, `unknown field "spec.foo"`}, `strict decoding error: `},
		{"PATCH", "strategic-merge-patch+json", merge, []string{`duplicate field "spec.replicas"`, `unknown field "spec.foo"`}, `strict decoding error: `},
	} {
		for _, level := range []string{"Strict", "Warn", "", "Ignore"} {
			name := strings.ToLower(c.method + "-" + strings.ReplaceAll(c.media, "+", "."))
			url := path + "/" + name + "?fieldValidation=" + level
			if c.method == "POST" {
				name += "-" + strings.ToLower(level)
				if level == "" {
					name += "unset"
				}
				url = path + "?fieldValidation=" + level
			}
			res, answer := r.do(c.method, url, strings.ReplaceAll(c.body, "NAME", name), "Content-Type", "application/"+c.media)
			title := fmt.Sprint(c.method, " ", c.media, " ", level)
			warned := strings.ReplaceAll(strings.Join(res.Header["Warning"], "\n"), `\"`, `"`)
			answer = strings.ReplaceAll(answer, `\"`, `"`)
			switch level {
			case "Strict":
				if res.StatusCode/100 != 4 || !strings.Contains(answer, c.refusal) {
					t.Errorf("%s: %d %s", title, res.StatusCode, answer)
				}
				for _, say := range c.says {
					if !strings.Contains(strings.ReplaceAll(answer, `\\"`, `"`), say) && !strings.Contains(answer, strings.ReplaceAll(say, `"`, `\"`)) {
						t.Errorf("%s: %s does not say %s", title, answer, say)
					}
				}
			case "Ignore":
				if res.StatusCode/100 != 2 || warned != "" {
					t.Errorf("%s: %d %s %s", title, res.StatusCode, answer, warned)
				}
			default:
				if res.StatusCode/100 != 2 || len(res.Header["Warning"]) != len(c.says) {
					t.Errorf("%s: %d %s %s", title, res.StatusCode, answer, warned)
				}
				for _, say := range c.says {
					if !strings.Contains(warned, say) {
						t.Errorf("%s: %s does not warn of %s", title, warned, say)
					}
				}
			}
		}
	}
	// What is applied is held against the schema, whatever is asked for; keys
	// that come twice are not.
	apply := path + "/apply?fieldManager=m&fieldValidation="
	clean := strings.NewReplacer("  foo: bar\n", "", "NAME", "apply").Replace(yamlBody)
	res, answer := r.do("PATCH", apply+"Strict", clean, "Content-Type", "application/apply-patch+yaml")
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(answer, "error strict decoding YAML: ") {
		t.Error(res.StatusCode, answer)
	}
	if res, answer = r.do("PATCH", apply+"Warn", clean, "Content-Type", "application/apply-patch+yaml"); res.StatusCode != http.StatusCreated || len(res.Header["Warning"]) != 1 {
		t.Error(res.Header, answer)
	}
	res, answer = r.do("PATCH", apply+"Ignore", strings.ReplaceAll(yamlBody, "NAME", "apply"), "Content-Type", "application/apply-patch+yaml")
	if res.StatusCode != http.StatusInternalServerError || !strings.Contains(answer, ".spec.foo: field not declared in schema") {
		t.Error(res.StatusCode, answer)
	}
	res, answer = r.do("POST", path+"?fieldValidation=Loose", "{}", "Content-Type", "application/json")
	if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(answer, `Unsupported value: \"Loose\"`) {
		t.Error(res.StatusCode, answer)
	}
}

// A dry run of any verb answers as the write would, and changes nothing.
func TestDryRunOfEveryVerb(t *testing.T) {
	r := start(t).raw(t, "admin", "system:masters")
	const maps = "/api/v1/namespaces/default/configmaps"
	const deploys = "/apis/apps/v1/namespaces/default/deployments"
	do := func(method, path, body, media string, code int) string {
		t.Helper()
		res, answer := r.do(method, path, body, "Content-Type", "application/"+media)
		if res.StatusCode != code {
			t.Errorf("%s %s: %d %s", method, path, res.StatusCode, answer)
		}
		return answer
	}
	const m = `{"metadata":{"name":"m"},"data":{"a":"1"}}`
	do("POST", maps, m, "json", 201)
	const d = `{"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`
	do("POST", deploys, d, "json", 201)
	pod := `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}`
	do("POST", "/api/v1/namespaces/default/pods", pod, "json", 201)
	// The items alone: the server's own first writes move the lists' revision.
	state := func() (s string) {
		for _, path := range []string{maps, deploys, "/api/v1/namespaces/default/pods"} {
			_, items, _ := strings.Cut(do("GET", path, "", "json", 200), `"items":`)
			s += items
		}
		return s
	}
	before := state()
	const dry = "?dryRun=All&fieldManager=m"
	const scale = `{"metadata":{"name":"d"},"spec":{"replicas":3}}`
	for _, w := range []struct {
		method, path, body, media string
		code                      int
		says                      string
	}{
		{"POST", maps + dry, `{"metadata":{"name":"n"}}`, "json", 201, `"uid"`},
		{"POST", maps + dry, `{"metadata":{"generateName":"n-"}}`, "json", 201, `"name":"n-`},
		{"POST", maps + dry, m, "json", 409, "AlreadyExists"},
		{"PUT", maps + "/m" + dry, `{"metadata":{"name":"m"},"data":{"a":"2"}}`, "json", 200, `"a":"2"`},
		{"PATCH", maps + "/m" + dry, `{"data":{"a":"3"}}`, "merge-patch+json", 200, `"a":"3"`},
		{"PATCH", maps + "/m" + dry, `{"data":{"a":"3"}}`, "strategic-merge-patch+json", 200, `"a":"3"`},
		{"PATCH", maps + "/m" + dry, `[{"op":"remove","path":"/data"}]`, "json-patch+json", 200, `"name":"m"`},
		{"PATCH", maps + "/m" + dry + "&force=true", "apiVersion: v1\nkind: ConfigMap\ndata: {a: '4'}", "apply-patch+yaml", 200, `"a":"4"`},
		{"PATCH", maps + "/new" + dry, "apiVersion: v1\nkind: ConfigMap\ndata: {a: '4'}", "apply-patch+yaml", 201, `"a":"4"`},
		{"DELETE", maps + "/m?dryRun=All", "", "json", 200, "Success"},
		{"DELETE", maps + "/m", `{"dryRun":["All"]}`, "json", 200, "Success"},
		{"DELETE", maps + "?dryRun=All", "", "json", 200, `"items"`},
		{"PUT", deploys + "/d/status" + dry, strings.Replace(d, `"spec"`, `"status":{"replicas":2},"spec"`, 1), "json", 200, `"replicas":2`},
		{"PATCH", deploys + "/d/status" + dry, `{"status":{"replicas":2}}`, "merge-patch+json", 200, `"replicas":2`},
		{"PUT", deploys + "/d/scale" + dry, scale, "json", 200, `"replicas":3`},
		{"PATCH", deploys + "/d/scale" + dry, `{"spec":{"replicas":4}}`, "merge-patch+json", 200, `"replicas":4`},
		{"PATCH", deploys + "/d/scale" + dry + "&force=true", "apiVersion: autoscaling/v1\nkind: Scale\nspec: {replicas: 5}", "apply-patch+yaml", 200, `"replicas":5`},
		{"POST", "/api/v1/namespaces/default/pods/p/binding" + dry, `{"metadata":{"name":"p"},"target":{"kind":"Node","name":"n"}}`, "json", 201, "Success"},
		{"POST", "/api/v1/namespaces/default/pods/p/eviction" + dry, `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"}}`, "json", 201, "Success"},
		{"DELETE", "/api/v1/namespaces/default/pods/p?dryRun=All", "", "json", 200, `"name":"p"`},
		{"PUT", maps + "/m?dryRun=Some", m, "json", 422, "Unsupported value"},
	} {
		if answer := do(w.method, w.path, w.body, w.media, w.code); !strings.Contains(answer, w.says) {
			t.Errorf("%s %s: %s", w.method, w.path, answer)
		}
		if after := state(); after != before {
			t.Errorf("%s %s changed\n%s\nto\n%s", w.method, w.path, before, after)
			before = after
		}
	}
}

// Every answer about a deprecated version says so.
func TestDeprecated(t *testing.T) {
	r := start(t).raw(t, "admin", "system:masters")
	const want = `299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"`
	for method, path := range map[string]string{"GET": "/api/v1/endpoints", "POST": "/api/v1/namespaces/default/endpoints"} {
		res, answer := r.do(method, path, `{"metadata":{"name":"e"}}`, "Content-Type", "application/json")
		if got := res.Header["Warning"]; len(got) != 1 || got[0] != want {
			t.Error(method, got, answer)
		}
	}
	res, _ := r.do("GET", "/api/v1/componentstatuses", "")
	if got := res.Header["Warning"]; len(got) != 1 || got[0] != `299 - "v1 ComponentStatus is deprecated in v1.19+"` {
		t.Error(got)
	}
	if res, _ = r.do("GET", "/api/v1/pods", ""); len(res.Header["Warning"]) > 0 {
		t.Error(res.Header)
	}
}

// An owner that is stated twice is one.
func TestOwnersOnlyOnce(t *testing.T) {
	r := start(t).raw(t, "admin", "system:masters")
	const owner = `{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u"}`
	body := `{"metadata":{"name":"m","ownerReferences":[` + owner + `,` + owner + `,{"apiVersion":"v1","kind":"Pod","name":"q","uid":"v"}]}}`
	for _, w := range [][2]string{{"POST", ""}, {"PUT", "/m"}} {
		res, answer := r.do(w[0], "/api/v1/namespaces/default/configmaps"+w[1], body, "Content-Type", "application/json")
		got := res.Header["Warning"]
		if res.StatusCode/100 != 2 || strings.Count(answer, `"uid":"u"`) != 1 || len(got) != 1 || !strings.HasSuffix(got[0], `duplicate UID(s) observed: u"`) {
			t.Error(w[0], got, answer)
		}
	}
}
