package deploy

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// checkKubernetes decodes each document into the type that the API server has for it, unknown fields refused, and then
// looks at our own rules.
func checkKubernetes(text string) error {
	var problems []error
	for document := range strings.SplitSeq(text, "\n---\n") {
		problems = append(problems, checkObject([]byte(document)))
	}
	return errors.Join(problems...)
}

func checkObject(document []byte) error {
	var head meta.TypeMeta
	if err := yaml.Unmarshal(document, &head); err != nil {
		return err
	}
	kinds := map[string]any{
		"apps/v1 Deployment": &apps.Deployment{}, "v1 ConfigMap": &core.ConfigMap{}, "v1 Service": &core.Service{},
		"policy/v1 PodDisruptionBudget": &policy.PodDisruptionBudget{}, "batch/v1 Job": &batch.Job{},
		"autoscaling/v2 HorizontalPodAutoscaler": &autoscaling.HorizontalPodAutoscaler{},
		"networking.k8s.io/v1 Ingress":           &networking.Ingress{},
	}
	object := kinds[head.APIVersion+" "+head.Kind]
	if object == nil {
		return fmt.Errorf("%s %s is none of the kinds that belong here", head.APIVersion, head.Kind)
	}
	text, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return fmt.Errorf("%s: %w", head.Kind, err)
	}
	// As the API server decodes: names in their exact case, and no number for a string.
	strict, err := json.UnmarshalStrict(text, object)
	if err := errors.Join(append(strict, err)...); err != nil {
		return fmt.Errorf("%s: %w", head.Kind, err)
	}
	switch o := object.(type) {
	case *apps.Deployment:
		return errors.Join(checkPod(o.Spec.Template), checkDeployment(o))
	case *batch.Job:
		return checkPod(o.Spec.Template)
	}
	return nil
}

func checkDeployment(d *apps.Deployment) error {
	var problems []error
	for key, value := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[key] != value {
			problems = append(problems, fmt.Errorf("the selector's %s is not that of the pods", key))
		}
	}
	for _, c := range d.Spec.Template.Spec.Containers {
		for name, probe := range map[string]*core.Probe{"startup": c.StartupProbe, "readiness": c.ReadinessProbe, "liveness": c.LivenessProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Port.String() != "http" {
				problems = append(problems, fmt.Errorf("no %s probe by HTTP", name))
			}
		}
		if c.LivenessProbe != nil && c.LivenessProbe.HTTPGet != nil && c.LivenessProbe.HTTPGet.Path != "/livez" {
			problems = append(problems, errors.New("liveness depends on more than the process"))
		}
	}
	return errors.Join(problems...)
}

func checkPod(pod core.PodTemplateSpec) error {
	var problems []error
	for _, c := range pod.Spec.Containers {
		if _, tag, _ := strings.Cut(c.Image, ":"); tag == "" || tag == "latest" {
			problems = append(problems, fmt.Errorf("the image %q has no pinned tag", c.Image))
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
			problems = append(problems, fmt.Errorf("%s has no bounds", c.Name))
		}
		s := c.SecurityContext
		if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil ||
			*s.AllowPrivilegeEscalation || s.Capabilities == nil || len(s.Capabilities.Drop) == 0 {
			problems = append(problems, fmt.Errorf("%s has rights that it does not need", c.Name))
		}
		for _, variable := range c.Env {
			if strings.HasSuffix(variable.Name, "_URL") && (variable.ValueFrom == nil || variable.ValueFrom.SecretKeyRef == nil) {
				problems = append(problems, fmt.Errorf("%s may hold a password and comes from no Secret", variable.Name))
			}
		}
	}
	if s := pod.Spec.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil {
		problems = append(problems, errors.New("may run as root, or without seccomp"))
	}
	return errors.Join(problems...)
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("got %q, %v, want the manifests", files, err)
	}
	for _, file := range files {
		if err := checkKubernetes(read(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	wantValid(t, read(t, "kubernetes/deployment.yaml"), checkKubernetes,
		[2]string{"readinessProbe:", "readynessProbe:"},
		[2]string{"periodSeconds: 1,", "periodSeconds: soon,"},
		[2]string{"path: /livez, port: http }, periodSeconds: 10", "path: /readyz, port: http }, periodSeconds: 10"},
		[2]string{"runAsNonRoot: true", "runAsNonRoot: false"},
		[2]string{"readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"},
		[2]string{"limits: { memory: 768Mi }", "limits: {}"},
		[2]string{"memory: 512Mi", "memory: much"},
		[2]string{"valueFrom: { secretKeyRef: { name: freshet, key: redis-url } }", "value: redis://:secret@redis"},
		[2]string{"image: freshet:1.0.0", "image: freshet:latest"},
		[2]string{"component: api } }\n  strategy", "component: app } }\n  strategy"},
		[2]string{"apps/v1", "apps/v1beta1"},
	)
	wantValid(t, read(t, "kubernetes/service.yaml"), checkKubernetes, [2]string{"targetPort:", "targetport:"}, [2]string{"pathType:", "pathtype:"})
	wantValid(t, read(t, "kubernetes/scaling.yaml"), checkKubernetes, [2]string{"maxUnavailable: 1", "maxUnavailable: { one: 1 }"}, [2]string{"minReplicas: 2", "minReplicas: two"})
	wantValid(t, read(t, "kubernetes/migrate.yaml"), checkKubernetes, [2]string{"backoffLimit: 3", "backoffLimits: 3"}, [2]string{"drop: [ALL]", "drop: []"})
	wantValid(t, read(t, "kubernetes/config.yaml"), checkKubernetes, [2]string{`"20"`, "20"})
}
