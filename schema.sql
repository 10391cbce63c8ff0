-- Made by `make schema` from migrations/; a test compares them. Change the migrations, not this file.
CREATE TYPE public.pgqueuer_status AS ENUM (
    'queued',
    'picked',
    'successful',
    'exception',
    'canceled',
    'deleted',
    'failed'
);

CREATE FUNCTION public.fn_pgqueuer_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    to_emit BOOLEAN := false;  -- Flag to decide whether to emit a notification
BEGIN
    -- Check operation type and set the emit flag accordingly
    IF TG_OP = 'UPDATE' AND OLD IS DISTINCT FROM NEW THEN
        to_emit := true;
    ELSIF TG_OP = 'DELETE' THEN
        to_emit := true;
    ELSIF TG_OP = 'INSERT' THEN
        to_emit := true;
    ELSIF TG_OP = 'TRUNCATE' THEN
        to_emit := true;
    END IF;
    -- Perform notification if the emit flag is set
    IF to_emit THEN
        PERFORM pg_notify(
            'ch_pgqueuer',
            json_build_object(
                'channel', 'ch_pgqueuer',
                'operation', lower(TG_OP),
                'sent_at', NOW(),
                'table', TG_TABLE_NAME,
                'type', 'table_changed_event'
            )::text
        );
    END IF;
    -- Return appropriate value based on the operation
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        RETURN NEW;
    ELSIF TG_OP = 'DELETE' THEN
        RETURN OLD;
    ELSE
        RETURN NULL; -- For TRUNCATE and other non-row-specific contexts
    END IF;
END;
$$;

CREATE FUNCTION public.guard_changed_prompts() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  perform refuse_edit_of_frozen_tasks(array(select task_id from old_rows union select task_id from new_rows));
  return null;
end $$;

CREATE FUNCTION public.guard_changed_seeds() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  perform refuse_edit_of_frozen_tasks(array(
    select distinct task_id from prompts
    where id in (select prompt_id from old_rows union select prompt_id from new_rows)));
  return null;
end $$;

CREATE FUNCTION public.guard_frozen_task() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if old.state <> 'DRAFT' and (
    new.state = 'DRAFT' or new.frozen_snapshot is distinct from old.frozen_snapshot
    or new.digest is distinct from old.digest or new.frozen_at is distinct from old.frozen_at
    or new.workflow_id is distinct from old.workflow_id or new.seed_mode is distinct from old.seed_mode
    or new.batch_size is distinct from old.batch_size or new.target_prompts is distinct from old.target_prompts
    or new.seeds_per_prompt is distinct from old.seeds_per_prompt
    or new.variable_pool_version is distinct from old.variable_pool_version
    or new.variable_pool_ids is distinct from old.variable_pool_ids
  ) then
    raise exception 'task % is frozen: its snapshot cannot change', old.id using errcode = 'CL001';
  end if;
  return new;
end $$;

CREATE FUNCTION public.guard_new_prompts() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  perform refuse_edit_of_frozen_tasks(array(select distinct task_id from new_rows));
  return null;
end $$;

CREATE FUNCTION public.guard_new_seeds() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  perform refuse_edit_of_frozen_tasks(array(
    select distinct task_id from prompts where id in (select prompt_id from new_rows)));
  return null;
end $$;

CREATE FUNCTION public.guard_old_prompts() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  perform refuse_edit_of_frozen_tasks(array(select distinct task_id from old_rows));
  return null;
end $$;

CREATE FUNCTION public.guard_old_seeds() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  perform refuse_edit_of_frozen_tasks(array(
    select distinct task_id from prompts where id in (select prompt_id from old_rows)));
  return null;
end $$;

CREATE FUNCTION public.guard_truncate() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  lock table tasks in share mode;
  if exists (select from tasks where state <> 'DRAFT') then
    raise exception 'a frozen task exists: % cannot be truncated', tg_table_name using errcode = 'CL001';
  end if;
  return null;
end $$;

CREATE FUNCTION public.refuse_edit_of_frozen_tasks(task_ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  frozen uuid;
begin
  perform from tasks where id = any (task_ids) order by id for share;
  select id into frozen from tasks where id = any (task_ids) and state <> 'DRAFT' limit 1;
  if frozen is not null then
    raise exception 'task % is frozen: its prompts and seeds cannot change', frozen using errcode = 'CL001';
  end if;
end $$;

CREATE TABLE public.ab_assignments (
    id uuid NOT NULL,
    test_id uuid NOT NULL,
    user_id uuid NOT NULL,
    variant_key text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.ab_tests (
    id uuid NOT NULL,
    name text NOT NULL,
    variants jsonb NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ab_tests_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE public.annotation_history (
    id uuid NOT NULL,
    annotation_id uuid NOT NULL,
    answer jsonb NOT NULL,
    replaced_at timestamp with time zone DEFAULT now() NOT NULL,
    batch_id uuid NOT NULL,
    user_id uuid NOT NULL,
    client_id text,
    undone_by text
);

CREATE TABLE public.annotations (
    id uuid NOT NULL,
    batch_id uuid NOT NULL,
    task_id uuid NOT NULL,
    prompt_id uuid NOT NULL,
    user_id uuid NOT NULL,
    kind text NOT NULL,
    chosen_index integer,
    rejected_index integer,
    chosen_generation_id uuid,
    rejected_generation_id uuid,
    spam boolean DEFAULT false NOT NULL,
    surplus boolean DEFAULT false NOT NULL,
    slot_order integer[],
    variant_key text,
    client_id text,
    elapsed_ms integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT annotations_kind_check CHECK ((kind = ANY (ARRAY['choice'::text, 'tie'::text, 'spam'::text, 'skip'::text]))),
    CONSTRAINT choice_has_chosen CHECK ((((kind = 'choice'::text) = (chosen_generation_id IS NOT NULL)) AND ((chosen_index IS NULL) = (chosen_generation_id IS NULL)) AND ((rejected_index IS NULL) = (rejected_generation_id IS NULL)))),
    CONSTRAINT rejected_goes_with_chosen CHECK (((rejected_index IS NULL) OR ((chosen_index IS NOT NULL) AND (rejected_index <> chosen_index)))),
    CONSTRAINT spam_is_a_kind CHECK ((spam = (kind = 'spam'::text)))
);

CREATE TABLE public.api_tokens (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    token_hash bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone
);

CREATE TABLE public.audit_events (
    id uuid NOT NULL,
    user_id uuid,
    action text NOT NULL,
    subject text NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.batches (
    id uuid NOT NULL,
    task_id uuid NOT NULL,
    prompt_id uuid NOT NULL,
    "position" integer NOT NULL,
    total integer NOT NULL,
    done integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    running integer DEFAULT 0 NOT NULL,
    retries_used integer DEFAULT 0 NOT NULL,
    losses integer DEFAULT 0 NOT NULL,
    candidates integer,
    reason text,
    spam_at timestamp with time zone,
    ready_at timestamp with time zone,
    taken integer DEFAULT 0 NOT NULL,
    CONSTRAINT batches_taken_check CHECK ((taken >= 0)),
    CONSTRAINT counters_fit CHECK (((done >= 0) AND (failed >= 0) AND (running >= 0) AND (((done + failed) + running) <= total))),
    CONSTRAINT ready_means_candidates CHECK (((ready_at IS NULL) = (candidates IS NULL)))
)
WITH (fillfactor='80');

CREATE TABLE public.generations (
    id uuid NOT NULL,
    task_id uuid NOT NULL,
    prompt_id uuid NOT NULL,
    seed_id uuid,
    batch_id uuid,
    worker_id uuid,
    submission_id uuid,
    pilot_id uuid,
    pilot boolean DEFAULT false NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    "position" integer NOT NULL,
    chunk integer NOT NULL,
    seed_value bigint NOT NULL,
    batch_index integer NOT NULL,
    batch_size integer NOT NULL,
    candidate_index integer,
    image_uri text,
    thumbnail_uri text,
    preview_uri text,
    checksum text,
    bytes bigint,
    width integer,
    height integer,
    retries_used integer DEFAULT 0 NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    tile_uri text,
    CONSTRAINT done_has_image CHECK (((state <> 'done'::text) OR ((image_uri IS NOT NULL) AND (checksum IS NOT NULL) AND (submission_id IS NOT NULL) AND (worker_id IS NOT NULL)))),
    CONSTRAINT generations_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'running'::text, 'done'::text, 'failed'::text]))),
    CONSTRAINT pilot_has_no_batch CHECK ((pilot = (batch_id IS NULL))),
    CONSTRAINT running_has_submission CHECK (((state <> 'running'::text) OR (submission_id IS NOT NULL)))
)
PARTITION BY RANGE (id);

CREATE TABLE public.idempotency_keys (
    user_id uuid NOT NULL,
    key text NOT NULL,
    request bytea NOT NULL,
    status integer,
    body bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.ineligible_workers (
    worker_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.inventories (
    digest text NOT NULL,
    object_info bytea NOT NULL,
    nodes integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.labellers (
    task_id uuid NOT NULL,
    user_id uuid NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    answered integer DEFAULT 0 NOT NULL
);

CREATE TABLE public.leases (
    batch_id uuid NOT NULL,
    user_id uuid NOT NULL,
    task_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.paces (
    worker_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    seconds_per_image double precision NOT NULL,
    images bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT paces_seconds_per_image_check CHECK ((seconds_per_image >= (0)::double precision))
);

CREATE TABLE public.pgqueuer (
    id bigint NOT NULL,
    priority integer NOT NULL,
    queue_manager_id uuid,
    created timestamp with time zone DEFAULT now() NOT NULL,
    updated timestamp with time zone DEFAULT now() NOT NULL,
    heartbeat timestamp with time zone DEFAULT now() NOT NULL,
    execute_after timestamp with time zone DEFAULT now() NOT NULL,
    status public.pgqueuer_status NOT NULL,
    entrypoint text NOT NULL,
    dedupe_key text,
    payload bytea,
    headers jsonb,
    attempts integer DEFAULT 0 NOT NULL,
    slot bigint
);

CREATE SEQUENCE public.pgqueuer_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.pgqueuer_id_seq OWNED BY public.pgqueuer.id;

CREATE TABLE public.pgqueuer_log (
    id bigint NOT NULL,
    created timestamp with time zone DEFAULT now() NOT NULL,
    job_id bigint NOT NULL,
    status public.pgqueuer_status NOT NULL,
    priority integer NOT NULL,
    entrypoint text NOT NULL,
    traceback jsonb,
    aggregated boolean DEFAULT false
);

ALTER TABLE public.pgqueuer_log ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.pgqueuer_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.pgqueuer_schedules (
    id bigint NOT NULL,
    expression text NOT NULL,
    entrypoint text NOT NULL,
    heartbeat timestamp with time zone DEFAULT now() NOT NULL,
    created timestamp with time zone DEFAULT now() NOT NULL,
    updated timestamp with time zone DEFAULT now() NOT NULL,
    next_run timestamp with time zone DEFAULT now() NOT NULL,
    last_run timestamp with time zone,
    status public.pgqueuer_status DEFAULT 'queued'::public.pgqueuer_status
);

CREATE SEQUENCE public.pgqueuer_schedules_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.pgqueuer_schedules_id_seq OWNED BY public.pgqueuer_schedules.id;

CREATE TABLE public.pgqueuer_statistics (
    id bigint NOT NULL,
    created timestamp with time zone DEFAULT date_trunc('sec'::text, now()) NOT NULL,
    count bigint NOT NULL,
    priority integer NOT NULL,
    status public.pgqueuer_status NOT NULL,
    entrypoint text NOT NULL
);

CREATE SEQUENCE public.pgqueuer_statistics_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.pgqueuer_statistics_id_seq OWNED BY public.pgqueuer_statistics.id;

CREATE TABLE public.pilots (
    id uuid NOT NULL,
    task_id uuid NOT NULL,
    edits integer NOT NULL,
    state text NOT NULL,
    worker_id uuid,
    retries_used integer DEFAULT 0 NOT NULL,
    ladder jsonb DEFAULT '[]'::jsonb NOT NULL,
    overrides jsonb DEFAULT '{}'::jsonb NOT NULL,
    heaviest jsonb,
    forecast jsonb,
    error jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT pilots_state_check CHECK ((state = ANY (ARRAY['running'::text, 'done'::text, 'failed'::text, 'cancelled'::text])))
);

CREATE TABLE public.prompts (
    id uuid NOT NULL,
    task_id uuid NOT NULL,
    "position" integer NOT NULL,
    text text NOT NULL,
    variables jsonb DEFAULT '{}'::jsonb NOT NULL,
    edited boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.seeds (
    id uuid NOT NULL,
    prompt_id uuid NOT NULL,
    "position" integer NOT NULL,
    seed_value bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT seeds_seed_value_check CHECK (((seed_value >= 0) AND (seed_value < '9007199254740992'::bigint)))
);

CREATE TABLE public.sessions (
    token_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE public.sign_in_links (
    token_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone
);

CREATE TABLE public.submissions (
    id uuid NOT NULL,
    worker_id uuid NOT NULL,
    task_id uuid NOT NULL,
    prompt_id uuid NOT NULL,
    pilot_id uuid,
    chunk integer NOT NULL,
    attempt integer NOT NULL,
    state text NOT NULL,
    seed_value bigint NOT NULL,
    batch_size integer NOT NULL,
    graph_digest text NOT NULL,
    error jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    sent_at timestamp with time zone,
    accepted_at timestamp with time zone,
    ended_at timestamp with time zone,
    seconds double precision,
    CONSTRAINT ended_means_time CHECK (((state = ANY (ARRAY['ingested'::text, 'failed'::text, 'lost'::text, 'cancelled'::text])) = (ended_at IS NOT NULL))),
    CONSTRAINT sent_means_time CHECK (((state = ANY (ARRAY['reserved'::text, 'cancelled'::text, 'failed'::text, 'lost'::text])) OR (sent_at IS NOT NULL))),
    CONSTRAINT submissions_seconds_check CHECK ((seconds >= (0)::double precision)),
    CONSTRAINT submissions_state_check CHECK ((state = ANY (ARRAY['reserved'::text, 'sent'::text, 'accepted'::text, 'generated'::text, 'ingested'::text, 'failed'::text, 'lost'::text, 'cancelled'::text])))
);

CREATE TABLE public.task_failures (
    task_id uuid NOT NULL,
    kind text NOT NULL,
    failures bigint DEFAULT 0 NOT NULL,
    last_message text NOT NULL,
    last_worker_id uuid,
    last_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.tasks (
    id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    state text NOT NULL,
    notes text,
    target_prompts integer NOT NULL,
    seeds_per_prompt integer NOT NULL,
    variable_pool_ids uuid[] NOT NULL,
    variable_pool_version text NOT NULL,
    sampling_seed bigint NOT NULL,
    seed_mode text NOT NULL,
    batch_size integer NOT NULL,
    overlap integer DEFAULT 1 NOT NULL,
    blind boolean DEFAULT false NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    ab_test_id uuid,
    edits integer DEFAULT 0 NOT NULL,
    frozen_snapshot jsonb,
    digest text,
    end_reason text,
    frozen_at timestamp with time zone,
    started_at timestamp with time zone,
    paused_at timestamp with time zone,
    ended_at timestamp with time zone,
    created_by uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ended_means_time CHECK (((state = ANY (ARRAY['DONE'::text, 'FAILED'::text])) = (ended_at IS NOT NULL))),
    CONSTRAINT frozen_means_snapshot CHECK (((state = 'DRAFT'::text) = (frozen_snapshot IS NULL))),
    CONSTRAINT frozen_means_time CHECK (((state = 'DRAFT'::text) = (frozen_at IS NULL))),
    CONSTRAINT tasks_batch_size_check CHECK ((batch_size >= 1)),
    CONSTRAINT tasks_overlap_check CHECK (((overlap >= 1) AND (overlap <= 100))),
    CONSTRAINT tasks_seed_mode_check CHECK ((seed_mode = ANY (ARRAY['native'::text, 'loop'::text]))),
    CONSTRAINT tasks_seeds_per_prompt_check CHECK (((seeds_per_prompt >= 1) AND (seeds_per_prompt <= 1000))),
    CONSTRAINT tasks_state_check CHECK ((state = ANY (ARRAY['DRAFT'::text, 'FROZEN'::text, 'RUNNING'::text, 'DONE'::text, 'FAILED'::text]))),
    CONSTRAINT tasks_target_prompts_check CHECK ((target_prompts >= 1))
);

CREATE TABLE public.users (
    id uuid NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    password_hash text,
    disabled_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT users_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['admin'::text, 'operator'::text, 'annotator'::text])))
);

CREATE TABLE public.variable_pools (
    id uuid NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    mode text NOT NULL,
    items text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT variable_pools_items_check CHECK ((cardinality(items) >= 1)),
    CONSTRAINT variable_pools_mode_check CHECK ((mode = ANY (ARRAY['no_replacement'::text, 'permutation'::text]))),
    CONSTRAINT variable_pools_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT variable_pools_version_check CHECK ((version >= 1))
);

CREATE TABLE public.worker_failures (
    worker_id uuid NOT NULL,
    kind text NOT NULL,
    failures bigint DEFAULT 0 NOT NULL
);

CREATE TABLE public.worker_minutes (
    worker_id uuid NOT NULL,
    task_id uuid NOT NULL,
    minute timestamp with time zone NOT NULL,
    submissions bigint DEFAULT 0 NOT NULL,
    images bigint DEFAULT 0 NOT NULL,
    failures bigint DEFAULT 0 NOT NULL,
    busy_seconds double precision DEFAULT 0 NOT NULL
);

CREATE TABLE public.worker_totals (
    worker_id uuid NOT NULL,
    submissions bigint DEFAULT 0 NOT NULL,
    images bigint DEFAULT 0 NOT NULL,
    busy_seconds double precision DEFAULT 0 NOT NULL,
    gap_seconds double precision DEFAULT 0 NOT NULL,
    gaps_10 bigint DEFAULT 0 NOT NULL,
    gaps_30 bigint DEFAULT 0 NOT NULL,
    gaps_100 bigint DEFAULT 0 NOT NULL,
    gaps_300 bigint DEFAULT 0 NOT NULL,
    gaps_1000 bigint DEFAULT 0 NOT NULL,
    gaps_3000 bigint DEFAULT 0 NOT NULL,
    gaps_more bigint DEFAULT 0 NOT NULL
);

CREATE TABLE public.workers (
    id uuid NOT NULL,
    name text NOT NULL,
    base_url text NOT NULL,
    api_key text,
    enabled boolean DEFAULT true NOT NULL,
    status text DEFAULT 'UNHEALTHY'::text NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    max_concurrent_jobs integer DEFAULT 1 NOT NULL,
    current_queue_len integer DEFAULT 0 NOT NULL,
    failed_checks integer DEFAULT 0 NOT NULL,
    reason text,
    comfyui_version text,
    last_checked_at timestamp with time zone,
    removed_at timestamp with time zone,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    headers text,
    header_names text[] DEFAULT '{}'::text[] NOT NULL,
    device text,
    vram_total bigint,
    vram_free bigint,
    fingerprint text,
    inventory_digest text,
    inventory_at timestamp with time zone,
    CONSTRAINT workers_max_concurrent_jobs_check CHECK (((max_concurrent_jobs >= 1) AND (max_concurrent_jobs <= 1000))),
    CONSTRAINT workers_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT workers_status_check CHECK ((status = ANY (ARRAY['HEALTHY'::text, 'UNHEALTHY'::text])))
);

CREATE TABLE public.workflows (
    id uuid NOT NULL,
    name text NOT NULL,
    version text NOT NULL,
    model text NOT NULL,
    max_batch_size integer NOT NULL,
    seed_mode text NOT NULL,
    status text NOT NULL,
    prompt_nodes jsonb NOT NULL,
    seed_nodes jsonb NOT NULL,
    forbidden_nodes jsonb NOT NULL,
    bindings jsonb NOT NULL,
    limits jsonb NOT NULL,
    report jsonb NOT NULL,
    raw_definition jsonb NOT NULL,
    validated_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT workflows_max_batch_size_check CHECK ((max_batch_size >= 1)),
    CONSTRAINT workflows_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT workflows_seed_mode_check CHECK ((seed_mode = ANY (ARRAY['native'::text, 'loop'::text]))),
    CONSTRAINT workflows_status_check CHECK ((status = ANY (ARRAY['valid'::text, 'warnings'::text, 'unverified'::text])))
);

ALTER TABLE ONLY public.pgqueuer ALTER COLUMN id SET DEFAULT nextval('public.pgqueuer_id_seq'::regclass);

ALTER TABLE ONLY public.pgqueuer_schedules ALTER COLUMN id SET DEFAULT nextval('public.pgqueuer_schedules_id_seq'::regclass);

ALTER TABLE ONLY public.pgqueuer_statistics ALTER COLUMN id SET DEFAULT nextval('public.pgqueuer_statistics_id_seq'::regclass);

ALTER TABLE ONLY public.ab_assignments
    ADD CONSTRAINT ab_assignments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ab_assignments
    ADD CONSTRAINT ab_assignments_test_id_user_id_key UNIQUE (test_id, user_id);

ALTER TABLE ONLY public.ab_tests
    ADD CONSTRAINT ab_tests_name_key UNIQUE (name);

ALTER TABLE ONLY public.ab_tests
    ADD CONSTRAINT ab_tests_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.annotation_history
    ADD CONSTRAINT annotation_history_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.annotations
    ADD CONSTRAINT annotations_batch_id_user_id_key UNIQUE (batch_id, user_id);

ALTER TABLE ONLY public.annotations
    ADD CONSTRAINT annotations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY public.audit_events
    ADD CONSTRAINT audit_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_prompt_id_key UNIQUE (prompt_id);

ALTER TABLE ONLY public.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key);

ALTER TABLE ONLY public.ineligible_workers
    ADD CONSTRAINT ineligible_workers_pkey PRIMARY KEY (worker_id, workflow_id);

ALTER TABLE ONLY public.inventories
    ADD CONSTRAINT inventories_pkey PRIMARY KEY (digest);

ALTER TABLE ONLY public.labellers
    ADD CONSTRAINT labellers_pkey PRIMARY KEY (task_id, user_id);

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (batch_id, user_id);

ALTER TABLE ONLY public.paces
    ADD CONSTRAINT paces_pkey PRIMARY KEY (worker_id, workflow_id, width, height);

ALTER TABLE ONLY public.pgqueuer_log
    ADD CONSTRAINT pgqueuer_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.pgqueuer
    ADD CONSTRAINT pgqueuer_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.pgqueuer_schedules
    ADD CONSTRAINT pgqueuer_schedules_expression_entrypoint_key UNIQUE (expression, entrypoint);

ALTER TABLE ONLY public.pgqueuer_schedules
    ADD CONSTRAINT pgqueuer_schedules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.pgqueuer_statistics
    ADD CONSTRAINT pgqueuer_statistics_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.pilots
    ADD CONSTRAINT pilots_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.prompts
    ADD CONSTRAINT prompts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.prompts
    ADD CONSTRAINT prompts_task_id_position_key UNIQUE (task_id, "position") DEFERRABLE;

ALTER TABLE ONLY public.seeds
    ADD CONSTRAINT seeds_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.seeds
    ADD CONSTRAINT seeds_prompt_id_position_key UNIQUE (prompt_id, "position");

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY public.sign_in_links
    ADD CONSTRAINT sign_in_links_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT submissions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.task_failures
    ADD CONSTRAINT task_failures_pkey PRIMARY KEY (task_id, kind);

ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.variable_pools
    ADD CONSTRAINT variable_pools_name_version_key UNIQUE (name, version);

ALTER TABLE ONLY public.variable_pools
    ADD CONSTRAINT variable_pools_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.worker_failures
    ADD CONSTRAINT worker_failures_pkey PRIMARY KEY (worker_id, kind);

ALTER TABLE ONLY public.worker_minutes
    ADD CONSTRAINT worker_minutes_pkey PRIMARY KEY (worker_id, minute, task_id);

ALTER TABLE ONLY public.worker_totals
    ADD CONSTRAINT worker_totals_pkey PRIMARY KEY (worker_id);

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.workflows
    ADD CONSTRAINT workflows_name_version_key UNIQUE (name, version);

ALTER TABLE ONLY public.workflows
    ADD CONSTRAINT workflows_pkey PRIMARY KEY (id);

CREATE INDEX annotation_history_annotation ON public.annotation_history USING btree (annotation_id);

CREATE INDEX annotation_history_client ON public.annotation_history USING btree (user_id, client_id) WHERE (client_id IS NOT NULL);

CREATE INDEX annotation_history_undo ON public.annotation_history USING btree (user_id, undone_by) WHERE (undone_by IS NOT NULL);

CREATE UNIQUE INDEX annotations_client ON public.annotations USING btree (user_id, client_id) WHERE (client_id IS NOT NULL);

CREATE INDEX annotations_mine ON public.annotations USING btree (user_id, task_id);

CREATE INDEX annotations_task ON public.annotations USING btree (task_id, batch_id);

CREATE INDEX api_tokens_user ON public.api_tokens USING btree (user_id);

CREATE INDEX batches_free ON public.batches USING btree (task_id, taken, ready_at, id) WHERE ((ready_at IS NOT NULL) AND (spam_at IS NULL));

CREATE INDEX batches_open ON public.batches USING btree (task_id, "position") WHERE (((done + failed) + running) < total);

CREATE INDEX batches_position ON public.batches USING btree (task_id, "position");

CREATE INDEX batches_ready ON public.batches USING btree (task_id, ready_at, id) WHERE (ready_at IS NOT NULL);

CREATE INDEX generations_batch ON ONLY public.generations USING btree (batch_id, "position");

CREATE INDEX generations_open ON ONLY public.generations USING btree (task_id, id) WHERE ((state = 'pending'::text) AND (NOT pilot));

CREATE INDEX generations_pilot ON ONLY public.generations USING btree (pilot_id) WHERE pilot;

CREATE INDEX generations_prompt ON ONLY public.generations USING btree (task_id, prompt_id);

CREATE INDEX leases_held ON public.leases USING btree (task_id, user_id);

CREATE INDEX pgqueuer_ep_ea_idx ON public.pgqueuer USING btree (entrypoint, execute_after) WHERE (status = 'queued'::public.pgqueuer_status);

CREATE INDEX pgqueuer_ep_prio_id_idx ON public.pgqueuer USING btree (entrypoint, priority DESC, id) WHERE (status = 'queued'::public.pgqueuer_status);

CREATE INDEX pgqueuer_log_created ON public.pgqueuer_log USING btree (created);

CREATE INDEX pgqueuer_log_job_id_status ON public.pgqueuer_log USING btree (job_id, created DESC);

CREATE INDEX pgqueuer_log_not_aggregated ON public.pgqueuer_log USING btree ((1)) WHERE (NOT aggregated);

CREATE INDEX pgqueuer_log_status ON public.pgqueuer_log USING btree (status);

CREATE INDEX pgqueuer_picked_heartbeat_idx ON public.pgqueuer USING btree (heartbeat) WHERE (status = 'picked'::public.pgqueuer_status);

CREATE UNIQUE INDEX pgqueuer_picked_slot_idx ON public.pgqueuer USING btree (entrypoint, slot) WHERE ((status = 'picked'::public.pgqueuer_status) AND (slot IS NOT NULL));

CREATE INDEX pgqueuer_priority_id_id1_idx ON public.pgqueuer USING btree (priority, id DESC) INCLUDE (id) WHERE (status = 'queued'::public.pgqueuer_status);

CREATE INDEX pgqueuer_queue_manager_id_idx ON public.pgqueuer USING btree (queue_manager_id) WHERE (queue_manager_id IS NOT NULL);

CREATE UNIQUE INDEX pgqueuer_statistics_unique_count ON public.pgqueuer_statistics USING btree (priority, date_trunc('sec'::text, timezone('UTC'::text, created)), status, entrypoint);

CREATE UNIQUE INDEX pgqueuer_unique_dedupe_key ON public.pgqueuer USING btree (dedupe_key) WHERE ((status = ANY (ARRAY['queued'::public.pgqueuer_status, 'picked'::public.pgqueuer_status])) AND (dedupe_key IS NOT NULL));

CREATE INDEX pgqueuer_updated_id_id1_idx ON public.pgqueuer USING btree (updated, id DESC) INCLUDE (id) WHERE (status = 'picked'::public.pgqueuer_status);

CREATE UNIQUE INDEX pilots_one_running ON public.pilots USING btree (task_id) WHERE (state = 'running'::text);

CREATE INDEX pilots_task ON public.pilots USING btree (task_id, id DESC);

CREATE INDEX sessions_user ON public.sessions USING btree (user_id);

CREATE INDEX submissions_chunk ON public.submissions USING btree (prompt_id, chunk);

CREATE INDEX submissions_open ON public.submissions USING btree (task_id) WHERE (ended_at IS NULL);

CREATE INDEX submissions_pilot ON public.submissions USING btree (pilot_id, created_at) WHERE (pilot_id IS NOT NULL);

CREATE INDEX submissions_slots ON public.submissions USING btree (worker_id) WHERE (state = ANY (ARRAY['reserved'::text, 'sent'::text, 'accepted'::text]));

CREATE INDEX tasks_newest ON public.tasks USING btree (created_at DESC, id DESC);

CREATE INDEX tasks_running ON public.tasks USING btree (priority DESC, id) WHERE (state = 'RUNNING'::text);

CREATE UNIQUE INDEX users_name ON public.users USING btree (lower(name));

CREATE INDEX worker_minutes_of_task ON public.worker_minutes USING btree (task_id, minute);

CREATE UNIQUE INDEX workers_name ON public.workers USING btree (name) WHERE (removed_at IS NULL);

CREATE TRIGGER frozen_delete AFTER DELETE ON public.prompts REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.guard_old_prompts();

CREATE TRIGGER frozen_delete AFTER DELETE ON public.seeds REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.guard_old_seeds();

CREATE TRIGGER frozen_insert AFTER INSERT ON public.prompts REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.guard_new_prompts();

CREATE TRIGGER frozen_insert AFTER INSERT ON public.seeds REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.guard_new_seeds();

CREATE TRIGGER frozen_truncate BEFORE TRUNCATE ON public.prompts FOR EACH STATEMENT EXECUTE FUNCTION public.guard_truncate();

CREATE TRIGGER frozen_truncate BEFORE TRUNCATE ON public.seeds FOR EACH STATEMENT EXECUTE FUNCTION public.guard_truncate();

CREATE TRIGGER frozen_update AFTER UPDATE ON public.prompts REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.guard_changed_prompts();

CREATE TRIGGER frozen_update AFTER UPDATE ON public.seeds REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.guard_changed_seeds();

CREATE TRIGGER frozen_update BEFORE UPDATE ON public.tasks FOR EACH ROW EXECUTE FUNCTION public.guard_frozen_task();

CREATE TRIGGER tg_pgqueuer_changed AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.pgqueuer FOR EACH STATEMENT EXECUTE FUNCTION public.fn_pgqueuer_changed();

ALTER TABLE ONLY public.ab_assignments
    ADD CONSTRAINT ab_assignments_test_id_fkey FOREIGN KEY (test_id) REFERENCES public.ab_tests(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.ab_assignments
    ADD CONSTRAINT ab_assignments_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.annotation_history
    ADD CONSTRAINT annotation_history_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES public.batches(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.annotation_history
    ADD CONSTRAINT annotation_history_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.annotations
    ADD CONSTRAINT annotations_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES public.batches(id);

ALTER TABLE ONLY public.annotations
    ADD CONSTRAINT annotations_chosen_generation_id_fkey FOREIGN KEY (chosen_generation_id) REFERENCES public.generations(id);

ALTER TABLE ONLY public.annotations
    ADD CONSTRAINT annotations_prompt_id_fkey FOREIGN KEY (prompt_id) REFERENCES public.prompts(id);

ALTER TABLE ONLY public.annotations
    ADD CONSTRAINT annotations_rejected_generation_id_fkey FOREIGN KEY (rejected_generation_id) REFERENCES public.generations(id);

ALTER TABLE ONLY public.annotations
    ADD CONSTRAINT annotations_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id);

ALTER TABLE ONLY public.annotations
    ADD CONSTRAINT annotations_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.audit_events
    ADD CONSTRAINT audit_events_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_prompt_id_fkey FOREIGN KEY (prompt_id) REFERENCES public.prompts(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE CASCADE;

ALTER TABLE public.generations
    ADD CONSTRAINT generations_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES public.batches(id);

ALTER TABLE public.generations
    ADD CONSTRAINT generations_pilot_id_fkey FOREIGN KEY (pilot_id) REFERENCES public.pilots(id);

ALTER TABLE public.generations
    ADD CONSTRAINT generations_prompt_id_fkey FOREIGN KEY (prompt_id) REFERENCES public.prompts(id);

ALTER TABLE public.generations
    ADD CONSTRAINT generations_seed_id_fkey FOREIGN KEY (seed_id) REFERENCES public.seeds(id);

ALTER TABLE public.generations
    ADD CONSTRAINT generations_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id);

ALTER TABLE public.generations
    ADD CONSTRAINT generations_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.workers(id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.ineligible_workers
    ADD CONSTRAINT ineligible_workers_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.workers(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.ineligible_workers
    ADD CONSTRAINT ineligible_workers_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES public.workflows(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.labellers
    ADD CONSTRAINT labellers_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.labellers
    ADD CONSTRAINT labellers_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES public.batches(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.paces
    ADD CONSTRAINT paces_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.workers(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.paces
    ADD CONSTRAINT paces_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES public.workflows(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.pilots
    ADD CONSTRAINT pilots_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.pilots
    ADD CONSTRAINT pilots_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.workers(id);

ALTER TABLE ONLY public.prompts
    ADD CONSTRAINT prompts_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.seeds
    ADD CONSTRAINT seeds_prompt_id_fkey FOREIGN KEY (prompt_id) REFERENCES public.prompts(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.sign_in_links
    ADD CONSTRAINT sign_in_links_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT submissions_pilot_id_fkey FOREIGN KEY (pilot_id) REFERENCES public.pilots(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT submissions_prompt_id_fkey FOREIGN KEY (prompt_id) REFERENCES public.prompts(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT submissions_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT submissions_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.workers(id);

ALTER TABLE ONLY public.task_failures
    ADD CONSTRAINT task_failures_last_worker_id_fkey FOREIGN KEY (last_worker_id) REFERENCES public.workers(id);

ALTER TABLE ONLY public.task_failures
    ADD CONSTRAINT task_failures_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_ab_test_id_fkey FOREIGN KEY (ab_test_id) REFERENCES public.ab_tests(id);

ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.users(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES public.workflows(id);

ALTER TABLE ONLY public.worker_failures
    ADD CONSTRAINT worker_failures_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.workers(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.worker_minutes
    ADD CONSTRAINT worker_minutes_task_id_fkey FOREIGN KEY (task_id) REFERENCES public.tasks(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.worker_minutes
    ADD CONSTRAINT worker_minutes_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.workers(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.worker_totals
    ADD CONSTRAINT worker_totals_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.workers(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_inventory_digest_fkey FOREIGN KEY (inventory_digest) REFERENCES public.inventories(digest);
