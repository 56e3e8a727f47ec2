"""The registry: every signature, in catalogue order. A new one is a file, a test, a row and a line here."""

from detector.signatures import (
    a1_template_dominance,
    a2_elicitation,
    a3_signature_replay,
    a6_long_outputs,
    a7_machine_pace,
    a9_instant_maximum,
    a12_logit_probe,
    a14_refused_variants,
    a15_many_systems,
    c1_shared_template,
    c3_work_queue,
    c9_outputs_return,
    c10_short_lived,
    i1_shared_indicator,
    m1_population_outlier,
    n1_crowded_prefix,
    n3_prefix_template,
    n7_handed_afar,
    p1_shared_payment,
    p2_alike_registrations,
    t4_one_source,
    t5_taken_out,
)
from detector.signatures.contract import Signature

SIGNATURES: tuple[Signature, ...] = tuple(
    module.SIGNATURE
    for module in (
        a1_template_dominance,
        a2_elicitation,
        a3_signature_replay,
        a6_long_outputs,
        a7_machine_pace,
        a9_instant_maximum,
        a12_logit_probe,
        a14_refused_variants,
        a15_many_systems,
        n1_crowded_prefix,
        n3_prefix_template,
        n7_handed_afar,
        p1_shared_payment,
        p2_alike_registrations,
        c1_shared_template,
        c3_work_queue,
        c9_outputs_return,
        c10_short_lived,
        i1_shared_indicator,
        t4_one_source,
        t5_taken_out,
        m1_population_outlier,
    )
)
ACCOUNT_SIGNATURES = tuple(s for s in SIGNATURES if s.unit == "account")
LINK_SIGNATURES = tuple(s for s in SIGNATURES if s.unit == "link")
BY_ID = {s.id: s for s in SIGNATURES}
