# SPDX-License-Identifier: Apache-2.0
"""Every fast kernel against its readable twin, every derivative against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
from unit.planted import CLUTTER, DIM, car_card, car_mesh
from unit.scenes import planted_scene

from dinemo_ros.geometry import rotation_from_viewpoint, so3_exp
from dinemo_ros.solver import reference, similarity
from dinemo_ros.solver.category import COARSE_SAMPLES
from dinemo_ros.solver.coarse import SHIFT, gather, make_sums, place, select_distinct
from dinemo_ros.solver.compare import compare, rasterise
from dinemo_ros.solver.likelihood import accumulate, choose_vertices, information, projection_jacobian, window
from dinemo_ros.solver.linear import rotate, solve_positive
from dinemo_ros.solver.problem import FeatureMap, State
from dinemo_ros.solver.similarity import UNIT, Similarity
from dinemo_ros.solver.surface import farthest_point_order, outward, prepare_surface, smoothed
from dinemo_ros.solver.views import view_table
from dinemo_ros.solver.visibility import visible_row
from dinemo_ros.solver.workspace import LONGEST_WINDOW, PARAMETERS, make_equations, make_rendering, make_work

TEMPERATURE, PAD = 0.07, SHIFT + 1


@pytest.fixture(scope="module")
def surface():
    return prepare_surface(car_mesh())


@pytest.fixture(scope="module")
def scene():
    return planted_scene(35.0, elevation_deg=15.0, scale=(1.05, 0.98, 1.02), noise=0.3)


@pytest.fixture(scope="module")
def volume(surface, scene):
    similarity = Similarity(surface.features[:400], car_mesh().clutter, TEMPERATURE, "clutter", PAD)
    return similarity(scene.features)


def pose_of(scene):
    return scene.T[:3, :3].copy(), scene.T[:3, 3].copy(), np.log(scene.scale)


def perturbed(scene):
    return reference.moved(*pose_of(scene), np.array([0.03, -0.02, 0.1, 0.02, -0.03, 0.01, 0.01, -0.02, 0.01]))


@pytest.mark.parametrize("evidence", ["clutter", "posterior"])
def test_similarity_volume_equals_its_twin(surface, scene, evidence):
    C, clutter = surface.features[:200], car_mesh().clutter
    fast = Similarity(C, clutter, TEMPERATURE, evidence, PAD)(scene.features)
    slow_evidence, odds, background_score, foreground = reference.similarity(C, clutter, scene.features, TEMPERATURE,
        evidence)
    assert np.allclose(fast.evidence[:-1, PAD:-PAD, PAD:-PAD] / UNIT, slow_evidence, atol=0.51 / UNIT)  # rounded
    assert np.allclose(fast.odds, odds, rtol=2e-4)  # float32 similarity divided by the temperature, exp by series
    assert np.allclose(fast.background_score, background_score, atol=2e-6) and np.allclose(fast.foreground, foreground,
        atol=1e-4)
    assert not fast.evidence[:, :PAD].any() and not fast.evidence[:, :, -PAD:].any() and not fast.evidence[-1].any()
    assert np.array_equal(fast.cells, scene.features.transpose(1, 2, 0))


def test_similarity_takes_any_number_of_clutter_features(surface, scene):
    for count in range(1, CLUTTER):
        clutter = car_mesh().clutter[:count]
        fast = Similarity(surface.features[:8], clutter, TEMPERATURE, "clutter", PAD)(scene.features)
        assert np.allclose(fast.background_score, np.einsum("kd,dhw->khw", clutter, scene.features).max(0), atol=2e-6)


def test_similarity_takes_any_number_of_channels(surface, scene):
    C, clutter, cells = surface.features[:8, :61], car_mesh().clutter[:, :61], scene.features[:61]
    fast = Similarity(C, clutter, TEMPERATURE, "clutter", PAD)(cells)
    expected = np.einsum("vd,dp->vp", C, cells.reshape(61, -1))
    assert np.allclose(fast.similarity, expected, atol=2e-6) and fast.cells.shape == (*cells.shape[1:], 61)


@pytest.mark.parametrize("channels", [60, 61, 62, 63])
def test_products_are_given_exactly_as_much_as_they_have_room_for(surface, scene, monkeypatch, channels):
    """What is written past the end of an array is seen in no value: the sizes have to agree, whatever is padded."""
    given = []

    def products(C, F, S, first, last, peak):
        given.append((C.shape, F.shape, S.shape, peak.shape))
        return compiled(C, F, S, first, last, peak)

    compiled = similarity.products
    monkeypatch.setattr(similarity, "products", products)
    C, clutter, cells = surface.features[:8, :channels], car_mesh().clutter[:, :channels], scene.features[:channels]
    Similarity(C, clutter, TEMPERATURE, "clutter", PAD)(cells)
    places, padded = cells[0].size, channels + -channels % 4
    assert given == [((len(rows), padded), (padded, places), (len(rows), places), (places,)) for rows in (C, clutter)]


def test_coarse_score_equals_its_twin(volume, surface, scene):
    views = view_table(surface, car_card().search, 400, 40)
    g, target = 37, scene.target
    x, y, z = 0.03, -0.02, 9.0
    sums = make_sums(40)
    n = gather(volume.evidence, volume.pad, views, g, 40, (x * z, y * z, z), target.camera, sums)
    assert n == int(views.weight[g].sum())
    points = views.points[g, :, :n].T + np.array([x * z, y * z, z])
    evidence, row = volume.evidence[:-1, PAD:-PAD, PAD:-PAD] / UNIT, volume.evidence.shape[2]
    for dy, dx in ((-3, 2), (0, 0), (1, -1), (3, 3)):
        slow = reference.mean_evidence(evidence, views.index[g, :n], points, target.focal, target.centre, (dx, dy))
        assert sums.total[(dy + SHIFT) * row + dx + SHIFT] / (UNIT * n) == pytest.approx(slow, abs=1e-9)


def test_evidence_fits_into_8_bits_and_its_sums_into_16():
    assert 2.0 * UNIT + 0.5 < 2**8 and 2.0 * UNIT * COARSE_SAMPLES < 2**16


def test_place_fits_the_roi_exactly(surface, scene):
    """At the returned position the projected mesh fills the box: same centre, same geometric mean of the ratios."""
    R, target = scene.T[:3, :3], scene.target
    rotated = (surface.vertices @ R.T).astype(np.float32)
    x, y, z = place(rotated, target.box, target.open_sides, target.focal, target.centre)
    cells = reference.project(rotated + np.array([0, 0, z]), target.focal, target.centre)
    cells += target.focal * np.array([x, y])
    low, high = cells.min(axis=0), cells.max(axis=0)
    assert np.allclose(0.5 * (low + high), 0.5 * (target.box[:2] + target.box[2:]), atol=1e-3)
    assert np.prod(high - low) == pytest.approx(np.prod(target.box[2:] - target.box[:2]), rel=1e-2)


def test_select_distinct_keeps_flips_and_drops_neighbours():
    angles = [(0, 0, 0), (0.1, 0, 0), (np.pi, 0, 0), (1.0, 0, 0), (2.0, 0, 0)]
    rotations = np.array([rotation_from_viewpoint(*a) for a in angles])
    scores = np.array([0.9, 0.95, 0.8, 0.7, 0.1])
    assert select_distinct(rotations, scores, np.radians(25), 5, 0.5) == [1, 2, 3]
    assert select_distinct(rotations, scores, np.radians(25), 2, 0.0) == [1, 2]
    assert select_distinct(rotations, np.zeros(5), np.radians(25), 5, 0.5) == []


@pytest.mark.parametrize("u, v, sigma", [(12.3, 15.8, 1.5), (0.4, 31.2, 2.5), (20.0, 3.0, 0.7)])
def test_window_moments_equal_their_twin(volume, u, v, sigma):
    out = np.empty(6)
    window(volume.odds[5], u, v, sigma, out, np.empty(LONGEST_WINDOW))
    Z, mean, C = reference.window(volume.odds[5].astype(float), u, v, sigma)
    assert out[0] == pytest.approx(Z, rel=1e-5)
    assert np.allclose(out[1:3], mean, atol=1e-5) and np.allclose(out[3:], [C[0, 0], C[0, 1], C[1, 1]], atol=1e-5)


def test_window_off_the_map_is_empty(volume):
    out = np.ones(6)
    window(volume.odds[0], -20.0, 5.0, 2.0, out, np.empty(LONGEST_WINDOW))
    assert not out.any()


def test_information_of_a_gaussian_match_is_the_inverse_of_both_variances():
    """A peak of variance s^2 under a window of variance sigma^2: 1 / (sigma^2 + s^2), along any axes."""
    sigma, widths, angle = 1.7, np.array([0.8, 2.0]), 0.6
    c, s = np.cos(angle), np.sin(angle)
    Q = np.array([[c, -s], [s, c]])
    C = Q @ np.diag(widths**2 * sigma**2 / (widths**2 + sigma**2)) @ Q.T
    expected = Q @ np.diag(1.0 / (sigma**2 + widths**2)) @ Q.T
    assert np.allclose(information(C[0, 0], C[0, 1], C[1, 1], sigma), [expected[0, 0], expected[0, 1], expected[1, 1]])


def test_information_stays_positive_with_two_matches():
    a, b, c = information(9.0, 0.0, 0.5, 1.5)  # two peaks far apart along x
    assert a > 0 and a * c - b * b > 0


def test_projection_jacobian_equals_finite_differences(scene):
    R, t, log_size = perturbed(scene)
    vertex, focal = np.array([1.3, -0.7, 0.4]), scene.target.focal
    scaled = np.exp(log_size) * vertex
    J, numeric, h = np.empty((2, PARAMETERS)), np.empty((2, PARAMETERS)), 1e-6
    projection_jacobian(R @ scaled + t, t, R, scaled, focal, J)
    for k in range(PARAMETERS):
        step = np.zeros(PARAMETERS)
        step[k] = h
        ends = [reference.project(reference.transform(vertex[None], *reference.moved(R, t, log_size, s)), focal, 0.0)[0]
                for s in (step, -step)]
        numeric[:, k] = (ends[0] - ends[1]) / (2 * h)
    assert np.allclose(J, numeric, rtol=1e-6, atol=1e-6)


def test_likelihood_value_and_gradient(volume, surface, scene):
    """Value equals the twin's, gradient its finite differences, in float64."""
    R, t, log_size = perturbed(scene)
    focal, centre, sigma = scene.target.focal, scene.target.centre, 2.0
    index, weight = np.empty(60, np.int64), np.empty(60)
    work = make_work()
    state = State(R, t, log_size)
    count = choose_vertices(surface, state, 400, index, weight, work)
    assert count == 60
    odds, equations = volume.odds.astype(float), make_equations()

    def value(step):
        pose = reference.moved(R, t, log_size, step)
        return reference.log_likelihood(odds, surface.vertices, index, weight, *pose, focal, centre, sigma)

    fast = accumulate(odds, surface.vertices, index, weight, state, scene.target.camera, sigma, equations, work)
    assert fast == pytest.approx(value(np.zeros(PARAMETERS)), rel=1e-9)
    h = 1e-6 * np.array([9, 9, 9, 1, 1, 1, 1, 1, 1])
    numeric = np.array([(value(d) - value(-d)) / (2 * d.sum()) for d in np.diag(h)])
    # The window is cut at 2.5 sigma: what enters and leaves there is in the differences and not in the gradient.
    assert np.linalg.norm(equations.gradient - numeric) < 0.05 * np.linalg.norm(numeric)
    normal = equations.normal
    assert np.allclose(normal, normal.T) and np.linalg.eigvalsh(normal).min() > -1e-9


def rendered(surface, pose, camera, cells):
    rendering = make_rendering(len(surface.vertices), cells)
    rasterise(surface.vertices, surface.faces, State(*pose), camera, rendering, make_work())
    return rendering


def compared(surface, volume, pose, camera, rendering):
    equations, crop = make_equations(), FeatureMap(volume.cells, volume.background_score, *camera, TEMPERATURE, 20.0)
    sums = compare(crop, surface, rendering, State(*pose), equations, make_work())
    return sums, equations


def test_rendering_and_cosines_equal_the_ray_cast(surface, volume, scene):
    pose, focal, centre = perturbed(scene), scene.target.focal, scene.target.centre
    rendering = rendered(surface, pose, scene.target.camera, volume.background_score.shape)
    cosine, face = reference.rendered_cosines(volume.cells, surface.features, surface.vertices, surface.faces, *pose,
                                              focal, centre)
    assert np.array_equal(rendering.face_of >= 0, face >= 0)
    assert np.mean(rendering.face_of == face) > 0.99  # on a shared edge either face may win
    (evidence, explained, mean, covered), _ = compared(surface, volume, pose, scene.target.camera, rendering)
    on = face >= 0
    gamma = 1.0 / (1.0 + np.exp((volume.background_score[on] - cosine[on]) / TEMPERATURE))
    assert covered == on.sum()
    assert evidence == pytest.approx(np.maximum(cosine - volume.background_score, 0)[on].sum(), rel=1e-3)
    assert explained == pytest.approx(gamma.sum(), rel=1e-3)
    assert mean == pytest.approx(np.sum(gamma * cosine[on]) / gamma.sum(), rel=1e-3)


def test_render_and_compare_gradient_equals_finite_differences(surface, volume, scene):
    """Per unknown, over the cells that see the same face at both ends of the difference."""
    pose, focal, centre = perturbed(scene), scene.target.focal, scene.target.centre
    trusting = replace(volume, background_score=np.full_like(volume.background_score, -10.0))  # every cell counts fully
    rendering = rendered(surface, pose, scene.target.camera, volume.background_score.shape)
    face = rendering.face_of
    for k in range(PARAMETERS):
        h = np.zeros(PARAMETERS)
        h[k] = 1e-5 * (scene.T[2, 3] if k < 3 else 1.0)
        ends = [reference.rendered_cosines(volume.cells.astype(float), surface.features.astype(float), surface.vertices,
                                           surface.faces, *reference.moved(*pose, s), focal, centre) for s in (h, -h)]
        same = (ends[0][1] == ends[1][1]) & (ends[0][1] == face) & (face >= 0)
        numeric = (ends[0][0] - ends[1][0])[same].sum() / (2 * h[k])
        masked = rendering._replace(face_of=np.where(same, face, -1).astype(np.int32))
        _, (gradient, normal) = compared(surface, trusting, pose, scene.target.camera, masked)
        assert same.sum() > 0.95 * (face >= 0).sum()
        assert gradient[k] == pytest.approx(numeric, rel=1e-2, abs=1e-2)
        assert np.linalg.eigvalsh(normal).min() > -1e-6


def test_visible_vertices_face_the_camera_and_are_not_hidden(surface):
    """From a few directions: a vertex that faces the camera and that nothing hides, up to the table's tolerance."""
    for azimuth, elevation in ((0.3, 0.2), (2.0, 0.5), (4.4, 0.0)):
        R = rotation_from_viewpoint(azimuth, elevation, 0.0)
        row = visible_row(surface, azimuth, elevation)
        facing = surface.normals @ R[2] < -0.3  # well towards the camera
        away = surface.normals @ R[2] > 0.3
        assert not row[away].any()
        roof = facing & (surface.vertices[:, 2] > 0.7)
        assert row[roof].mean() > 0.9  # nothing is above the roof; at its rim the depth image may say otherwise
    front = visible_row(surface, 0.0, 0.0)
    grille = (surface.vertices[:, 0] > 2.19) & (surface.normals[:, 0] > 0.9)
    assert front[grille].mean() > 0.9 and not front[surface.vertices[:, 0] < -2.19].any()


def test_farthest_points_spread_evenly():
    points = np.random.default_rng(0).uniform(size=(300, 3))
    order = farthest_point_order(points)
    assert sorted(order) == list(range(300))
    gaps = [np.linalg.norm(points[order[:n], None] - points[order[:n]], axis=2) + np.eye(n) for n in (20, 80)]
    assert gaps[0].min() > gaps[1].min() > 0.1


def test_farthest_points_survive_duplicates():
    order = farthest_point_order(np.repeat(np.eye(3), 4, axis=0))
    assert sorted(order) == list(range(12))


def test_faces_are_turned_outwards():
    mesh = car_mesh()
    inside_out = mesh.faces[:, ::-1]
    vertices, normals = mesh.vertices.astype(float), mesh.normals.astype(float)
    turned = outward(inside_out.copy(), vertices, normals)
    corners = vertices[turned]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.sum(across * normals[turned[:, 0]], axis=1) > 0).all()


def test_only_noisy_features_are_smoothed():
    mesh = car_mesh()
    args = mesh.vertices.astype(float), mesh.normals.astype(float), mesh.faces
    assert np.array_equal(smoothed(mesh.features, *args), mesh.features)
    noise = np.random.default_rng(0).normal(size=(len(mesh.vertices), DIM)) * 0.2
    noisy = mesh.features + noise
    noisy = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
    better = smoothed(noisy, *args)
    assert np.sum(better * mesh.features, axis=1).mean() > np.sum(noisy * mesh.features, axis=1).mean() + 0.15
    assert np.allclose(np.linalg.norm(better, axis=1), 1.0, atol=1e-5)


def test_rotate_equals_the_exponential():
    R = rotation_from_viewpoint(1.0, 0.2, 0.1)
    for omega in ([0.3, -0.5, 0.9], [1e-10, 0.0, 0.0], [0.0, 0.0, 3.0]):
        out = np.empty((3, 3))
        rotate(np.array(omega), R, out)
        assert np.allclose(out, so3_exp(np.array(omega)) @ R, atol=1e-9)


def test_solve_positive_and_its_refusal():
    rng = np.random.default_rng(0)
    B, b, x = rng.normal(size=(9, 9)), rng.normal(size=9), np.empty(9)
    A = B @ B.T + np.eye(9)
    assert solve_positive(A.copy(), b, x) and np.allclose(A @ x, b)
    assert not solve_positive(-np.eye(9), b, x)
